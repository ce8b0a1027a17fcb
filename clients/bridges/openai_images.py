"""OpenAI's images API: /v1/images/generations, edits, variations, and /v1/models."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from clients.bridges import finding
from clients.python import AsyncClient, ServerError

ClientOf = Callable[[str, str], Awaitable[AsyncClient]]


def create(client_of: ClientOf) -> FastAPI:
    """The app; `client_of(token, session)` gives the client of whoever asks."""
    app = FastAPI(title="OpenAI images", docs_url=None, redoc_url=None)

    async def asking(request: Request) -> AsyncClient:
        return await client_of(request.headers["Authorization"].removeprefix("Bearer "), "openai")

    @app.exception_handler(ServerError)
    async def refused(request: Request, error: ServerError) -> JSONResponse:
        body = {"message": error.message, "type": "invalid_request_error", "param": error.field, "code": error.code}
        return JSONResponse({"error": body}, 400)

    @app.get("/models")
    async def models(client: AsyncClient = Depends(asking)) -> dict[str, Any]:  # noqa: B008, FastAPI's way
        names = [about["name"] for about in finding.from_text(await finding.jobs(client))]
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": name.partition(".")[0]} for name in names]
        return {"object": "list", "data": rows}

    return app
