"""Changes values in a TOML file that people edit, too: their comments, their order and all else in it stay."""

import contextlib
import copy
import os
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from core.errors import Conflict, Internal, InvalidParams
from core.ops.config import tomllib

Tree = dict[str, Any]


def changed(values: Tree, changes: Tree) -> Tree:
    """`values`, tables by name, with `changes`: None takes something out, and a table that is empty then goes, too."""
    merged = copy.deepcopy(values)
    for name, inside in changes.items():
        table = {} if inside is None else merged.get(name, {}) | inside
        merged[name] = {key: value for key, value in table.items() if value is not None}
        if not merged[name]:
            del merged[name]
    return merged


def change(path: Path, changes: dict[str, Tree]) -> None:
    """Write `changes` of some tables of tables into the file, which is read anew, and made if it is not there.

    Raises Conflict if it is no TOML just now, saying where."""
    path = path.resolve()  # a link stays one
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        document, before = tomlkit.parse(text), tomllib.loads(text)
    except (TOMLKitError, ValueError) as error:
        hint = "Mend the file, then try again: nothing was changed."
        raise Conflict(f"{path} cannot be read: {error}.", hint=hint) from error
    except OSError as error:
        raise Internal(f"cannot read {path}: {error}.") from error
    wanted = dict(before)
    for table, tree in changes.items():
        if tree:
            wanted[table] = changed(before.get(table, {}), tree)
            _change(document, table, tree)
    after = tomlkit.dumps(document)
    if _filled(tomllib.loads(after)) != _filled(wanted):
        hint = "Change it by hand, then start the server again."
        raise Internal(f"{path} is written in a way that cannot be changed here; nothing was.", hint=hint)
    if after != text:
        _write(path, after)


def _filled(values: Tree) -> Tree:
    return {key: value for key, value in values.items() if value != {}}


def _change(document: tomlkit.TOMLDocument, table: str, tree: Tree) -> None:
    try:
        if table not in document:
            document.append(table, tomlkit.table(is_super_table=True))
        for name, inside in tree.items():
            if inside is None:
                document[table].pop(name, None)
                continue
            if name not in document[table]:
                inline = isinstance(document[table], tomlkit.items.InlineTable)
                document[table][name] = tomlkit.inline_table() if inline else tomlkit.table()
            for key, value in inside.items():
                _set(document[table][name], key, value)
            if not document[table][name]:
                document[table].pop(name)
        if not document[table]:
            document.pop(table)
    except (TypeError, ValueError, TOMLKitError) as error:  # null, in a list for example
        raise InvalidParams(f"TOML cannot hold this: {error}.") from error


def _set(table: Any, key: str, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    elif isinstance(value, dict) and isinstance(table.get(key), dict):  # in place: comments inside stay
        for gone in table[key].keys() - value.keys():
            table[key].pop(gone)
        for inner, each in value.items():
            if table[key].get(inner) != each:
                table[key][inner] = each
    elif isinstance(value, dict):
        inline = tomlkit.inline_table()
        inline.update(value)
        table[key] = inline
    elif key not in table or table[key] != value or type(table[key].unwrap()) is not type(value):
        table[key] = value


def _write(path: Path, text: str) -> None:
    """All of it or nothing. Tokens may be in it: at no time may more people read it than before."""
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            new.unlink(missing_ok=True)
            new.touch(0o600)
        with new.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            new.chmod(path.stat().st_mode)
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise Internal(
            f"cannot write {path}: {error}.", hint="Free some disk space, or check its permissions."
        ) from error
