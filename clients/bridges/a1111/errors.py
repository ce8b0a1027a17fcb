"""Errors in A1111's shapes: a table of four, and FastAPI's list for what is wrong with a request's fields."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from clients.bridges.answers import Answer, status_of, words_of
from clients.python import ServerError


def handle(app: FastAPI) -> None:
    """Let the app answer so whatever its endpoints raise."""

    @app.exception_handler(ServerError)
    async def refused(request: Request, error: ServerError) -> JSONResponse:
        return Answer(told(type(error).__name__, words_of(error), error.message), status_of(error, 422))

    @app.exception_handler(HTTPException)
    async def answered(request: Request, error: HTTPException) -> JSONResponse:
        return Answer(told("HTTPException", error.detail), error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        bad = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]  # without the pictures
        return Answer({"detail": bad}, 422)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        text = "this failed; the bridges' log on the server says why."
        return Answer(told(type(error).__name__, text, text), 500)


def told(error: str, detail: str, errors: str = "") -> dict[str, Any]:
    return {"error": error, "detail": detail, "body": "", "errors": errors}
