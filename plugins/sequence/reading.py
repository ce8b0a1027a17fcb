"""Texts in the forms that people have them: plain, Markdown, EPUB, subtitles; as they are, and as they are built."""

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from core.plugin import InvalidParams

FORMS = {".md": "markdown", ".markdown": "markdown", ".srt": "subtitles", ".vtt": "subtitles"}
MAX_BYTES = 100_000_000  # of a file, and of all pages of an EPUB together
TIMES = re.compile(r"^(\d+:)?\d+:\d\d[,.]\d{1,3} +--> ", re.MULTILINE)
MARKS = re.compile(r"^ {0,3}#{1,6} +\S", re.MULTILINE)
HEADING = re.compile(
    r"^[ \t]*(?:(?:chapter|season|episode)[ \t]*(?:\d+|[ivxlc]+\b)|"
    r"(?:act|book|part|scene)[ \t]+(?:\d+|[ivxlc]+)[ \t]*(?=$|[:.(–—-])).*$",
    re.IGNORECASE | re.MULTILINE,
)
Block = tuple[int, str]  # level of a heading, 0 of what is none; its text


@dataclass(frozen=True)
class Story:
    """`text` is what regular expressions see. `chapters` are those that it is built of, each its prompts;
    `prompts(part)` gives those in a part of the text."""

    text: str
    chapters: list[list[str]]
    prompts: Callable[[str], list[str]]


@functools.lru_cache(4)  # a program is run again and again
def read(text: str, form: str = "automatic", name: str = "") -> Story:
    """`form` is "plain", "markdown" or "subtitles", or found out from the file's name or the text. A file that is no
    text comes as a data: URL."""
    if head := re.match(r"data:[^,]{0,200};base64,", text):
        try:
            return read_bytes(base64.b64decode(text[head.end() :], validate=True), "the file")
        except binascii.Error as error:
            raise InvalidParams(f"the data: URL cannot be read: {error}.", field="text") from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if form == "automatic":
        form = FORMS.get(Path(name).suffix.lower(), form)
    if form == "automatic":
        times = text.startswith("WEBVTT") or TIMES.search(text[:2000])
        form = "subtitles" if times else "markdown" if MARKS.search(text) else "plain"
    return {"plain": _plain, "markdown": _markdown, "subtitles": _subtitles}[form](text)


def read_bytes(data: bytes, name: str) -> Story:
    if data.startswith(b"PK\x03\x04"):
        from .epub import blocks_of

        chapters, text = blocks_of(data, name)
        return Story(text, chapters, lines)
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return read(text, name=name)
    raise InvalidParams(f"{name} is no text.", field="book", hint="Save it as plain text in UTF-8, or as EPUB.")


def read_book(path: Path) -> Story:
    about = path.stat()
    if about.st_size > MAX_BYTES:
        raise InvalidParams(f"{path.name} has over {MAX_BYTES:,} bytes.", field="book")
    return _read_book(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache(4)
def _read_book(path: Path, changed: int, size: int) -> Story:
    return read_bytes(path.read_bytes(), path.name)


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _plain(text: str) -> Story:
    marks = [*HEADING.finditer(text)]
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    parts = [text[mark.end() : end] for mark, end in zip(marks, ends, strict=False)] or [text]
    return Story(text, list(filter(None, map(lines, parts))), lines)


def _markdown(text: str) -> Story:
    body = re.sub(r"\A---\n.*?\n(---|\.\.\.)\n", "", text, flags=re.DOTALL)  # what is said of the text, as YAML
    return Story(text, chapters_of(_markdown_blocks(body)), _paragraphs)


def _paragraphs(text: str) -> list[str]:
    return [words for level, words in _markdown_blocks(text) if not level]


def _markdown_blocks(text: str) -> list[Block]:
    from markdown_it import MarkdownIt

    found, level = [], 0
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "heading_open":
            level = int(token.tag[1])
        elif token.type == "inline":
            words = "".join(" " if each.type.endswith("break") else each.content for each in token.children or ())
            found.append((level, " ".join(words.split())))
            level = 0
    return [block for block in found if block[1]]


def _subtitles(text: str) -> Story:
    import pysubs2

    try:
        told = pysubs2.SSAFile.from_string(text, format_="vtt" if text.startswith("WEBVTT") else "srt")
    except Exception as error:  # whatever its parsers make of what is no subtitle
        raise InvalidParams(f"the subtitles cannot be read: {error}.", field="form") from error
    told.sort()
    spoken = [" ".join(event.plaintext.split()) for event in told if not event.is_comment]
    spoken = [words for words in spoken if words]
    return Story("\n".join(spoken), [spoken] if spoken else [], lines)


def chapters_of(blocks: Iterable[Block]) -> list[list[str]]:
    """The chapters are what stands below the headings of the first level of which there are several; if there are none,
    the only heading begins the only one. A heading above that level ends a chapter."""
    blocks = list(blocks)
    levels = [level for level, _ in blocks if level]
    chosen = min([level for level in levels if levels.count(level) > 1] or levels or [0])
    chapters: list[list[str]] = [[]]
    for level, text in blocks:
        if chosen and 0 < level <= chosen:
            chapters.append([])
            inside = level == chosen
        elif not level and (not chosen or len(chapters) > 1 and inside):
            chapters[-1].append(text)
    return [chapter for chapter in chapters if chapter]
