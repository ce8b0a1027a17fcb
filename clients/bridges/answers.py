"""What an answer says besides its body."""

from collections.abc import Iterable

from fastapi import Response


def tell_ignored(response: Response, names: Iterable[str]) -> None:
    """Fields that nothing here knows go into the header Warning: clients send many, and none is a reason to refuse."""
    if names := ", ".join(names):
        text = f"ignored, for nothing here knows them: {names}"[:1000].encode("unicode_escape").decode("ascii")
        response.headers["Warning"] = '299 stable-core "' + text.replace('"', "'") + '"'
