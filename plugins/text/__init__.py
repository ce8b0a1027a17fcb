"""Small changes to texts: the shortest useful plugin, and one that is not about pictures."""

import json
from collections.abc import Iterator
from typing import Literal

from core.plugin import Context, InvalidParams, Json, Params, Plugin, Text, job, param


class EditParams(Params):
    replace: str = param("", max_length=1000, help="What to replace, everywhere in the text; empty replaces nothing.")
    by: str = param("", max_length=1000, help="What to put in its place.")
    before: str = param("", max_length=10_000, help="Put before the text.")
    after: str = param("", max_length=10_000, help="Put after the text, for example ', highly detailed'.")
    case: Literal["keep", "lower", "upper", "title"] = param("keep", help="Capital and small letters.")


class SplitParams(Params):
    separator: str = param("\n", min_length=1, max_length=100, help="Where one text ends and the next begins.")


class TextTools(Plugin):
    @job(concurrency=8)
    def edit(self, text: Text, params: EditParams) -> Text:
        """Replace, extend or change the case of a text."""
        edited = text.replace(params.replace, params.by) if params.replace else text
        edited = params.before + edited + params.after
        return edited if params.case == "keep" else getattr(edited, params.case)()

    @job(concurrency=8)
    def split(self, text: Text, params: SplitParams, ctx: Context) -> Iterator[Text]:
        """Cut a text into several, one for each line or other part that is not empty."""
        parts = [part.strip() for part in text.split(params.separator) if part.strip()]
        for number, part in enumerate(parts, 1):
            ctx.raise_if_cancelled()
            yield part
            ctx.progress(number, len(parts), "split")

    @job(converts=True, concurrency=8)
    def from_json(self, value: Json) -> Text:
        """Write a JSON value as text; one that is a text stays as it is."""
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)

    @job(converts=True, concurrency=8)
    def to_json(self, text: Text) -> Json:
        """Read a text that is JSON, as a value."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidParams(f"this text is no JSON: {str(error)[:200]}.", field="text") from error
