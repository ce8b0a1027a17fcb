"""How what goes wrong is told: {"error": {"message", "type", "param", "code"}}, with OpenAI's status codes."""

from typing import Any

from fastapi.responses import JSONResponse

from clients.bridges.answers import Answer, status_of, words_of
from clients.python import ServerError

THEIRS = {"width": "size", "height": "size", "batch_size": "n", "image_url": "image"}  # names of what they sent


def answer(error: ServerError) -> JSONResponse:
    status = status_of(error, 400)
    # Their clients send again what ended with 409 or 500: the same job would fail again.
    headers = {"x-should-retry": "false"} if status in (409, 500) else {}
    if error.job:
        headers["x-request-id"] = error.job
    return Answer(body(error), status, headers)


def body(error: ServerError) -> dict[str, Any]:
    status = status_of(error, 400)
    kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    param = error.field and THEIRS.get(error.field, error.field)
    return {"error": {"message": words_of(error), "type": kind, "param": param, "code": error.code}}
