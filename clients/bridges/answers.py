"""How errors are told whichever API is spoken, and a header for what nothing here knows."""

import json
from collections.abc import Iterable
from typing import Any

from starlette.responses import JSONResponse, Response

from clients.python import ServerError

STATUS = {
    "unauthorized": 401, "forbidden": 403, "not_found": 404, "not_there": 404, "unknown_job": 404,
    "unknown_artifact": 404, "model_not_found": 404, "conflict": 409, "too_large": 413, "queue_full": 429,
    "plugin_error": 500, "dependency_failed": 500, "out_of_memory": 500, "worker_died": 500, "cancelled": 500,
    "internal": 500, "unreachable": 503, "timeout": 504,
}  # fmt: skip


class Answer(JSONResponse):
    """JSON that may say again whatever was sent: half a character, too, which no text that goes out can hold."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode("ascii")


def status_of(error: ServerError, asked_wrongly: int) -> int:
    """HTTP's status for an error; all that is not in the table is something that was asked wrongly."""
    return STATUS.get(error.code, asked_wrongly)


def words_of(error: ServerError) -> str:
    """What is wrong, and what to do next."""
    return f"{error.message} {error.hint or ''}".strip()


def tell_ignored(response: Response, names: Iterable[str]) -> None:
    """Fields that nothing here knows go into the header Warning: clients send many, and none is a reason to refuse."""
    if names := ", ".join(names):
        text = f"ignored, for nothing here knows them: {names}"[:1000].encode("unicode_escape").decode("ascii")
        response.headers["Warning"] = '299 stable-core "' + text.replace('"', "'") + '"'
