"""How a call waits for the jobs that it became: if one of them fails, the others end, too."""

import contextlib
from collections.abc import Sequence

import anyio

from clients.python import TERMINAL, AsyncArtifact, AsyncJob, Cancelled, DependencyFailed, ServerError


async def outputs(jobs: Sequence[AsyncJob], partial: bool = False) -> list[list[AsyncArtifact]]:
    """What each job gave; with `partial`, of a cancelled one, or one that waited for it, what there was. Raises what
    made one fail."""
    try:
        return [await _of_one(job, partial) for job in jobs]
    except ServerError:
        await end(jobs)
        raise


async def _of_one(job: AsyncJob, partial: bool) -> list[AsyncArtifact]:
    try:
        return await job.wait()
    except ServerError as error:
        if partial and isinstance(error, Cancelled | DependencyFailed):
            return (await job.refresh()).outputs
        error.job = error.job or job.id
        raise


async def end(jobs: Sequence[AsyncJob]) -> None:
    """Cancel what is not done, also where we are cancelled ourselves."""
    with anyio.CancelScope(shield=True):
        for job in jobs:
            if job.state not in TERMINAL:
                with contextlib.suppress(ServerError):
                    await job.cancel()
