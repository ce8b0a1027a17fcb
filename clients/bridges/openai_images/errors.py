"""How what goes wrong is told: {"error": {"message", "type", "param", "code"}}, with OpenAI's status codes."""

from typing import Any

from fastapi.responses import JSONResponse

from clients.python import ServerError

STATUS = {  # all others: 400
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "not_there": 404,
    "unknown_job": 404,
    "unknown_artifact": 404,
    "model_not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "queue_full": 429,
    "plugin_error": 500,
    "dependency_failed": 500,
    "out_of_memory": 500,
    "worker_died": 500,
    "cancelled": 500,
    "internal": 500,
    "unreachable": 503,
    "timeout": 504,
}
THEIRS = {"width": "size", "height": "size", "batch_size": "n", "image_url": "image"}  # names of what they sent


def answer(error: ServerError) -> JSONResponse:
    status = STATUS.get(error.code, 400)
    # Their clients send again what ended with 409 or 500: the same job would fail again.
    headers = {"x-should-retry": "false"} if status in (409, 500) else {}
    if error.job:
        headers["x-request-id"] = error.job
    return JSONResponse(body(error), status, headers)


def body(error: ServerError) -> dict[str, Any]:
    status = STATUS.get(error.code, 400)
    kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    message = f"{error.message} {error.hint}" if error.hint else error.message
    param = error.field and THEIRS.get(error.field, error.field)
    return {"error": {"message": message, "type": kind, "param": param, "code": error.code}}
