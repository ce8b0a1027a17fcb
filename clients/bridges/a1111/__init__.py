"""A1111's REST API: /sdapi/v1, /internal, /agent-scheduler. Each call becomes an ordinary job in the session a1111."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from clients.bridges.a1111 import lists, options
from clients.python import AsyncClient, ServerError

SESSION = "a1111"
ClientOf = Callable[[str, str], Awaitable[AsyncClient]]


def create(client_of: ClientOf) -> FastAPI:
    """The app; `client_of(token, session)` gives the client of whoever asks: `request.state.client`."""
    app = FastAPI(title="A1111", openapi_url="/sdapi/v1/openapi.json", docs_url="/sdapi/v1/docs", redoc_url=None)

    @app.exception_handler(ServerError)
    async def refused(request: Request, error: ServerError) -> JSONResponse:
        hint = f" {error.hint}" if error.hint else ""
        body = {"error": type(error).__name__, "detail": error.message + hint, "body": "", "errors": error.message}
        return JSONResponse(body, 404 if error.code in ("model_not_found", "not_there") else 422)

    @app.middleware("http")
    async def asking(request, call_next):
        token = request.headers["Authorization"].removeprefix("Bearer ")
        request.state.client = await client_of(token, SESSION)
        return await call_next(request)

    for part in (lists, options):
        app.include_router(part.router)
    return app
