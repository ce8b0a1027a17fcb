"""Requests to queue jobs, checked against what is announced; all that is wrong with any of them is told at once."""

from typing import Any

from core.errors import CoreError, InvalidParams
from core.jobs import Row
from core.library.catalogue import MAX_ERRORS, Catalogue, JobType
from core.library.fair import Pause

Checked = tuple[str, Row, JobType, Row, dict[str, list[Any]]]  # place, request, job, parameters, inputs


def check_all(catalogue: Catalogue, requests: list[Row], flow: bool) -> list[Checked]:
    """Each request with the job it asks for, its parameters with the defaults, and its inputs, kinds not checked yet.

    The place is what a field's name begins with in errors: of the second job of a `flow`, "jobs.1."."""
    checked, wrong, pause = [], [], Pause()
    for number, request in enumerate(requests):
        pause()
        place = f"jobs.{number}." if flow else ""
        try:
            checked.append((place, request, *_check(catalogue, request)))
        except CoreError as error:
            wrong.append(placed(error, place))
            if len(wrong) == MAX_ERRORS:
                break
    if wrong:
        raise joined(wrong)
    return checked


def _check(catalogue: Catalogue, request: Row) -> tuple[JobType, Row, dict[str, list[Any]]]:
    job = catalogue.wanted(request["job"])
    if job.about["light"]:
        raise InvalidParams(f"{job.name} is a light job, which is not queued. Send it with call.", field="job")
    try:
        params = job.check(request["params"])
    except InvalidParams as wrong:
        try:
            job.check_inputs(request["inputs"])
        except InvalidParams as also:
            raise joined([wrong, also]) from None
        raise
    return job, params, job.check_inputs(request["inputs"])


def joined(errors: list[CoreError]) -> CoreError:
    """One error of the first one's kind that tells them all."""
    if len(errors) == 1:
        return errors[0]
    first, told = errors[0], [each for error in errors for each in _fields(error)][:MAX_ERRORS]
    text = " ".join(map(str, errors))
    return type(first)(text, field=first.extra["field"], hint=first.extra["hint"], errors=told)


def placed(error: CoreError, place: str) -> CoreError:
    """The same, with fields that say in which job of a flow they are."""
    if not place:
        return error
    told = [{**each, "field": place + each["field"]} for each in _fields(error)]
    return type(error)(str(error), **error.extra | {"field": place + (error.extra["field"] or ""), "errors": told})


def _fields(error: CoreError) -> list[dict[str, str]]:
    return error.extra["errors"] or [{"field": error.extra["field"] or "", "message": str(error)}]
