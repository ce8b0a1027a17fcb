"""A text cut into chapters, and these into prompts, by regular expressions or as it is built."""

import functools
import itertools
import math
import re
import time
from collections.abc import Iterator
from typing import Any

from core.plugin import InvalidParams

from .options import SequenceParams
from .reading import Story

SECONDS = 2.0  # that an expression may take, on the whole text
MOST_FOUND = 100_000  # places where it is
MOST_REPEATED = 100_000  # (x{9}){9} is written out 81 times, before any time is measured
REPEATED = re.compile(r"\{(\d{1,9})[},]")


def prompts_of(story: Story, params: SequenceParams) -> list[list[tuple[int, str]]]:
    """The prompts of each chapter within the limits, each with its number in the whole text. Raises InvalidParams."""
    if not story.text.strip():
        raise InvalidParams("the text is empty: there is nothing to draw.", field="story")
    split = _by_expression if params.chapter_split_regex else _as_built
    chapters = (_kept(prompts, params) for prompts in split(story, params, time.monotonic() + SECONDS))
    some, number = [], 0
    for prompts in itertools.islice(chapters, params.max_chapters or None):
        some.append([*enumerate(prompts, number)][: params.max_entries_per_chapter or None])
        number += len(prompts)
    if not number:
        others = [*chapters]
        raise _nothing(story, params, len(some) + len(others), sum(map(len, others)))
    return some


def _kept(prompts: list[str], params: SequenceParams) -> list[str]:
    return [prompt.strip() for prompt in prompts if params.keep_empty or prompt.strip()]


def _nothing(story: Story, params: SequenceParams, chapters: int, prompts: int) -> InvalidParams:
    if prompts:
        text = f"the first {params.max_chapters} of {chapters} chapters have no prompt."
        return InvalidParams(text, field="max_chapters", hint="0 is all chapters.")
    if params.prompt_split_regex and params.first_prompt != "always":
        return InvalidParams(
            f"prompt_split_regex {params.prompt_split_regex!r} leaves no prompt in {chapters} chapters: what is before "
            "it first is taken for the rest of a heading.", field="prompt_split_regex",
            hint="Set first_prompt to 'always', or use another expression.",
        )  # fmt: skip
    text = f"there is no prompt in the text, which has {len(story.text):,} characters and {chapters} chapters."
    return InvalidParams(text, field="story")


def _by_expression(story: Story, params: SequenceParams, until: float) -> Iterator[list[str]]:
    found = [*_matches("chapter_split_regex", params.chapter_split_regex, story.text, until)]
    if not found:
        raise InvalidParams(
            f"chapter_split_regex {params.chapter_split_regex!r} does not occur in the text, which has "
            f"{len(story.text):,} characters and begins: {story.text[:100]!r}. Change it, or leave it empty.",
            field="chapter_split_regex",
        )
    ends = [*(start for start, _ in found[1:]), len(story.text)]
    for (start, begin), end in zip(found, ends, strict=True):
        yield _prompts(story, params, story.text[begin:end], not _line_is_over(story.text[start:begin]), until)


def _line_is_over(mark: str) -> bool:
    return "\n" in mark[len(mark.rstrip()) :]


def _as_built(story: Story, params: SequenceParams, until: float) -> Iterator[list[str]]:
    for chapter in story.chapters:
        yield _prompts(story, params, "\n".join(chapter), False, until) if params.prompt_split_regex else chapter


def _prompts(story: Story, params: SequenceParams, body: str, heading: bool, until: float) -> list[str]:
    """The parts of a chapter's text, which begins with the rest of its heading's line if `heading`."""
    if not params.prompt_split_regex:
        return story.prompts(body.partition("\n")[2] if heading and params.first_prompt != "always" else body)
    parts, end = [], 0
    for start, after in _matches("prompt_split_regex", params.prompt_split_regex, body, until):
        parts.append(body[end:start])
        end = after
    parts.append(body[end:])
    if params.first_prompt == "never":
        return parts[1:]
    if heading and params.first_prompt == "after the heading":
        return [*filter(None, [parts[0].partition("\n")[2]]), *parts[1:]]
    return parts


def _matches(field: str, pattern: str, text: str, until: float) -> Iterator[tuple[int, int]]:
    """Where the expression is found, by that time; groups in it do not count."""
    try:
        found = _compiled(field, pattern).finditer(text, timeout=max(0.01, until - time.monotonic()))
        for number, each in enumerate(found):
            if number == MOST_FOUND:
                text = f"{field} {pattern!r} is in the text in over {MOST_FOUND:,} places."
                raise InvalidParams(text, field=field, hint="Use an expression that fits fewer.")
            yield each.span()
    except TimeoutError as error:
        raise InvalidParams(
            f"{field} {pattern!r} takes over {SECONDS:g} s on this text. Nested repetitions as in (a+)+ are the usual "
            "cause: write it without.", field=field,
        ) from error  # fmt: skip


@functools.lru_cache(16)
def _compiled(field: str, pattern: str) -> Any:
    import regex

    if math.prod(max(1, int(count)) for count in REPEATED.findall(pattern)) > MOST_REPEATED:
        text = f"{field} {pattern!r} repeats what is repeated over {MOST_REPEATED:,} times."
        raise InvalidParams(text, field=field, hint="Use smaller numbers in braces.")
    try:
        return regex.compile(pattern)
    except RecursionError as error:
        text = f"{field} {pattern[:80]!r} ... has too many brackets in each other."
        raise InvalidParams(text, field=field) from error
    except regex.error as error:
        raise InvalidParams(
            f"{field} {pattern!r} is no regular expression: {error}.", field=field,
            hint="Put \\ before a sign that stands for itself: \\( \\[ \\. \\?",
        ) from error  # fmt: skip
