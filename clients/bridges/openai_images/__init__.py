"""OpenAI's images API: /v1/images and /v1/models. Each call becomes an ordinary job in the session openai."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from clients.bridges.asking import ClientOf, client_asking
from clients.bridges.openai_images import drawing, errors, models
from clients.python import AsyncClient, Internal, NotFound, ServerError

SESSION = "openai"


def create(client_of: ClientOf) -> FastAPI:
    """The app; `client_of(token, session)` gives the client of whoever asks."""
    app = FastAPI(title="OpenAI images", openapi_url=None)
    asking = client_asking(client_of, SESSION)

    @app.post("/images/generations")
    async def generations(request: Request, client: AsyncClient = asking) -> Response:
        return await drawing.answer(request, client, drawing.GENERATION)

    @app.post("/images/edits")
    async def edits(request: Request, client: AsyncClient = asking) -> Response:
        return await drawing.answer(request, client, drawing.EDIT)

    @app.post("/images/variations")
    async def variations(request: Request, client: AsyncClient = asking) -> Response:
        return await drawing.answer(request, client, drawing.VARIATION)

    @app.get("/models")
    async def list_models(client: AsyncClient = asking) -> dict[str, Any]:
        return {"object": "list", "data": await models.listed(client)}

    @app.get("/models/{name:path}")
    async def one_model(name: str, client: AsyncClient = asking) -> dict[str, Any]:
        return await models.one(client, name)

    @app.exception_handler(ServerError)
    async def refused(request: Request, error: ServerError) -> JSONResponse:
        return errors.answer(error)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code in (404, 405):
            return errors.answer(NotFound(f"there is no {request.method} {request.url.path[:200]} here."))
        return errors.answer(ServerError(str(error.detail), code="invalid_request"))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return errors.answer(Internal("this failed; the bridges' log on the server says why."))

    return app
