"""What can go wrong, as data: one exception tree whose codes are the wire's error codes.

CoreError                    a person, a client or a plugin caused it; bugs stay ordinary exceptions
├── InvalidParams            a value is missing, misspelt, of the wrong type or out of range
├── UnknownJob               no plugin announces a job of that name
├── UnknownArtifact          no artifact has that id
├── TypeMismatch             an artifact or a result is not of the announced type
├── BadImage                 bytes that are not a picture we can read
├── TooLarge                 a message, upload or picture is over its limit
├── ModelNotFound            no model has that name
├── DependencyFailed         a job that this one waits for did not end well
├── QueueFull                the owner has too many unfinished jobs
├── Unauthorized             no token, or a wrong one
├── Forbidden                a right token without that right
├── NotFound                 no job, session or page of that name
├── Conflict                 the thing is not in a state that allows this
├── PluginError              the plugin's code raised
├── OutOfMemory              the device's memory did not suffice
├── WorkerDied               the worker's process ended under the job
├── Timeout                  no progress, or no answer, for too long
├── Cancelled                somebody asked for it to stop
└── Internal                 our own mistake
"""

import re
from typing import Any


class CoreError(Exception):
    """Says what was asked, what is wrong, what is allowed and what to do.

    `errors` lists all bad fields as {"field", "message"} where there are several."""

    def __init__(
        self, message: str, *, field: str | None = None, hint: str | None = None, job: str | None = None,
        errors: list[dict[str, str]] | None = None,
    ):  # fmt: skip
        super().__init__(message)
        self.extra = {"field": field, "hint": hint, "job": job, "errors": errors}

    @classmethod
    def code(cls) -> str:
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def wire(self) -> dict[str, Any]:
        extra = {key: value for key, value in self.extra.items() if value}
        return {"code": self.code(), "message": str(self), **extra}


class InvalidParams(CoreError): ...


class UnknownJob(CoreError): ...


class UnknownArtifact(CoreError): ...


class TypeMismatch(CoreError): ...


class BadImage(CoreError): ...


class TooLarge(CoreError): ...


class ModelNotFound(CoreError): ...


class DependencyFailed(CoreError): ...


class QueueFull(CoreError): ...


class Unauthorized(CoreError): ...


class Forbidden(CoreError): ...


class NotFound(CoreError): ...


class Conflict(CoreError): ...


class PluginError(CoreError): ...


class OutOfMemory(CoreError): ...


class WorkerDied(CoreError): ...


class Timeout(CoreError): ...


class Cancelled(CoreError): ...


class Internal(CoreError): ...


CODES = {cls.code(): cls for cls in CoreError.__subclasses__()}


def from_wire(error: dict[str, Any]) -> CoreError:
    """The exception that `wire` has described."""
    extra = {key: error.get(key) for key in ("field", "hint", "job", "errors")}
    return CODES.get(error["code"], Internal)(error["message"], **extra)
