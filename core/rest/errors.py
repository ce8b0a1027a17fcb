"""How what goes wrong is told over HTTP: the same errors as on the socket, with a status code."""

import errno
import logging
from typing import Any

import flask
import pydantic
from werkzeug.exceptions import HTTPException

from core import errors
from core.errors import CoreError, Internal, InvalidParams, NotFound, TooLarge
from core.library import plain

STATUS: dict[type[CoreError], int] = {  # all others: 400
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.UnknownJob: 404,
    errors.UnknownArtifact: 404,
    errors.ModelNotFound: 404,
    errors.Conflict: 409,
    errors.DependencyFailed: 409,
    errors.TooLarge: 413,
    errors.QueueFull: 429,
    errors.Internal: 500,
    errors.PluginError: 502,
    errors.WorkerDied: 502,
    errors.Timeout: 504,
    errors.OutOfMemory: 507,
}


def failed(error: CoreError) -> tuple[Any, int]:
    return {"ok": False, "error": error.wire()}, STATUS.get(type(error), 400)


def handle(app: flask.Flask) -> None:
    """Let every error of `app` be answered with {"ok": false, "error": {...}}."""

    app.register_error_handler(CoreError, failed)

    @app.errorhandler(pydantic.ValidationError)
    def invalid(error: pydantic.ValidationError) -> Any:
        return failed(plain.invalid(error))

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Any:
        if error.code in (404, 405):
            problem: CoreError = NotFound(f"there is nothing at {flask.request.method} {flask.request.path[:200]}.")
        elif error.code == 413:
            problem = TooLarge("the request is over the limit.")
        else:
            problem = InvalidParams(f"{error.name}: {error.description}")
        return failed(problem)[0], error.code, error.get_headers()[1:]  # without Content-Type: Allow, say

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Any:
        if isinstance(error, OSError) and error.errno is None:  # the client went away, or its chunks make no sense
            return failed(InvalidParams("the request broke off or could not be read. Send it again."))
        logging.exception("%s failed", flask.request.path)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        return failed(Internal("the server's disk is full." if full else "this failed; the server's log says why."))
