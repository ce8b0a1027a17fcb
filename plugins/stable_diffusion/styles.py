"""Which styles the user has: pieces of prompts by name, in models/styles/styles.csv, which A1111 writes, too."""

import contextlib
import csv
import difflib
import io
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.library.prompts import MAX_TEXT
from core.plugin import InvalidParams

MAX_NAME = 100
LOCK_SECONDS = 5
COLUMNS = ("name", "prompt", "negative_prompt")
OLD_COLUMN = "text"  # what A1111 called `prompt` at first


@dataclass(frozen=True)
class Style:
    name: str
    prompt: str = ""
    negative_prompt: str = ""


def read(folder: Path) -> dict[str, Style]:
    """The styles by name in the order of the file, of which there may be none. `folder`: the user's models folder.

    Rows whose name is empty or begins with # are dividers and no styles. Of equal names the last counts. Raises
    InvalidParams if the file is damaged."""
    rows = _read(_file(folder))[1]
    return {row["name"]: Style(*(row[column] for column in COLUMNS)) for row in rows if not _divides(row)}


def apply(names: Iterable[str], prompt: str, negative_prompt: str, styles: dict[str, Style]) -> tuple[str, str]:
    """The prompt and the negative prompt with the styles put in, one after the other in the order of `names`.

    A style's text with {prompt} in it goes around what is there, another one is appended after a comma, as in A1111.
    Raises InvalidParams for a name that is not there, and if a text becomes longer than MAX_TEXT."""
    for name in names:
        style = find(name, styles, "styles")
        prompt = _merged(prompt, style.prompt, name)
        negative_prompt = _merged(negative_prompt, style.negative_prompt, name)
    return prompt, negative_prompt


def save(folder: Path, name: str, prompt: str, negative_prompt: str) -> None:
    """Add a style, or change the one of that name; whatever else is in the file stays, and the file as it was becomes
    styles.csv.bak. Raises InvalidParams, and then nothing has changed."""
    name = name.strip()
    if not name or len(name) > MAX_NAME or name.startswith("#") or not name.isprintable():
        hint = f"A name is a line of 1 to {MAX_NAME} characters and does not begin with #."
        raise InvalidParams(f"a style cannot be called {name[:MAX_NAME]!r}.", field="name", hint=hint)
    for field, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if len(text) > MAX_TEXT or "\0" in text:
            raise InvalidParams(
                f"a style's {field} has at most {MAX_TEXT:,} characters, and no NUL among them.", field=field
            )
    row = {"name": name, "prompt": prompt, "negative_prompt": negative_prompt}
    with _changing(folder) as rows:
        same = [place for place, old in enumerate(rows) if old["name"] == name]
        if same:
            rows[same[-1]] |= row
        else:
            rows.append(row)


def delete(folder: Path, name: str) -> None:
    """Remove a style. Raises InvalidParams if there is none of that name."""
    with _changing(folder) as rows:
        find(name, {row["name"]: row for row in rows if not _divides(row)})
        rows[:] = [row for row in rows if row["name"] != name]


def _file(folder: Path) -> Path:
    return (folder / "styles/styles.csv").resolve()  # a link to A1111's own file stays a link


def _divides(row: dict[str, str]) -> bool:
    return not row["name"] or row["name"].startswith("#")


def find(name: str, styles: dict[str, Style], field: str = "name") -> Style:
    """The style of that name; raises InvalidParams, naming the nearest ones."""
    if name not in styles:
        near = difflib.get_close_matches(name, styles, n=3, cutoff=0.4)
        text = f"there is no style {name[:MAX_NAME]!r}." + (f" Did you mean {', '.join(near)}?" if near else "")
        hint = "Styles are the rows of models/styles/styles.csv; they are found without a restart."
        raise InvalidParams(text, field=field, hint=hint)
    return styles[name]


def _merged(prompt: str, style: str, name: str) -> str:
    if not style.strip():
        return prompt
    if len(style) + len(prompt) * max(1, style.count("{prompt}")) > MAX_TEXT:
        raise InvalidParams(f"with the style {name!r} the prompt has over {MAX_TEXT:,} characters.", field="styles")
    if "{prompt}" in style:
        return style.replace("{prompt}", prompt)
    return ", ".join(filter(None, (prompt.strip(), style.strip())))


def _read(file: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns, and the rows with all COLUMNS. Raises InvalidParams if the file is damaged."""
    if not file.exists() or not file.stat().st_size:
        return [*COLUMNS], []
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _damaged(file, "it is no UTF-8 text") from error
    lines = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        header = ["prompt" if column == OLD_COLUMN else column for column in next(lines, [])]
        if not {"name", "prompt"} <= {*header}:
            raise _damaged(file, f"its first line has to be {','.join(COLUMNS)}")
        rows = [_row(file, lines.line_num, header, values) for values in lines if values]
        _check_quotes(text)
    except csv.Error as error:
        raise _damaged(file, f"line {lines.line_num}: {error}") from error
    return header, rows


def _row(file: Path, line: int, header: list[str], values: list[str]) -> dict[str, str]:
    if any(values[len(header) :]):
        text = f"line {line} has {len(values)} columns instead of {len(header)}; a text with commas needs quotes"
        raise _damaged(file, text)
    return dict.fromkeys(COLUMNS, "") | dict(zip(header, values, strict=False))


def _check_quotes(text: str) -> None:
    """Raises csv.Error if a quote is not closed: the reader would take the rest of the file for one text. What else
    it takes offence at when it is strict is harmless, a space behind a quote for example."""
    try:
        list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise csv.Error("a quote is not closed") from error


def _damaged(file: Path, problem: str) -> InvalidParams:
    hint = f"Mend {file}, or replace it by {file.name}.bak beside it, which is how it was before the last change here."
    return InvalidParams(f"{file.name} is damaged: {problem}.", field="styles", hint=hint)


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[list[dict[str, str]]]:
    """The rows of the file, which is written anew with what becomes of them; others who change it wait. The file is
    replaced at once, so nobody reads half of it."""
    file = _file(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file.with_name("styles.csv.lock")):
        header, rows = _read(file)
        yield rows
        new = file.with_name("styles.csv.new")
        with new.open("w", encoding="utf-8-sig", newline="") as stream:
            # All in quotes: without them, spaces at the beginning of a text would be skipped by who reads it.
            writer = csv.DictWriter(stream, list(dict.fromkeys([*header, *COLUMNS])), quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
            stream.flush()
            os.fsync(stream.fileno())
        if file.exists():
            shutil.copyfile(file, file.with_name("styles.csv.bak"))
        os.replace(new, file)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes and threads. It is SQLite's on an empty database, which is the same on every
    system and ends with its holder."""
    with contextlib.closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as database:
        try:
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise InvalidParams(f"the styles are being changed elsewhere, for {LOCK_SECONDS} s.") from error
        yield
