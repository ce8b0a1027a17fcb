"""Errors in A1111's shapes: a table of four, and FastAPI's list for what is wrong with a request's fields."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from clients.python import ServerError

STATUSES = {
    "model_not_found": 404, "not_there": 404, "not_found": 404, "unauthorized": 401, "forbidden": 403, "conflict": 409,
    "too_large": 413, "queue_full": 429,
}  # fmt: skip
OF_JOBS = {"plugin_error", "out_of_memory", "worker_died", "timeout", "internal", "dependency_failed", "unreachable"}


def handle(app: FastAPI) -> None:
    """Let the app answer so whatever its endpoints raise."""

    @app.exception_handler(ServerError)
    async def refused(request: Request, error: ServerError) -> JSONResponse:
        status = 500 if error.code in OF_JOBS else STATUSES.get(error.code, 422)
        hint = f" {error.hint}" if error.hint else ""
        return JSONResponse(told(type(error).__name__, error.message + hint, error.message), status)

    @app.exception_handler(HTTPException)
    async def answered(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(told("HTTPException", error.detail), error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        bad = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]  # without the pictures
        return JSONResponse({"detail": bad}, 422)


def told(error: str, detail: str, errors: str = "") -> dict[str, Any]:
    return {"error": error, "detail": detail, "body": "", "errors": errors}
