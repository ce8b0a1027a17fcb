"""How a call tells of its job's progress: as notifications, if the client wants them."""

import asyncio
from typing import Any

from mcp.server.context import ServerRequestContext

from clients.python import AsyncArtifact, AsyncJob

QUIET_SECONDS = 10  # then something is told all the same: clients give up on calls that are silent for a minute


class Progress:
    """Numbers that only grow, as MCP demands: steps, which begin anew with each picture, are counted on."""

    def __init__(self, context: ServerRequestContext[Any, Any]):
        self._session, self._wanted = context.session, bool(context.meta and "progress_token" in context.meta)
        self._before, self._step, self._told = 0.0, 0.0, -1.0
        self._news = asyncio.Event()

    async def follow(self, job: AsyncJob) -> list[AsyncArtifact]:
        """The outputs of a job, as its `wait`."""
        if not self._wanted:
            return await job.wait()
        await self._tell(0, None, job.state)
        ended = asyncio.create_task(job.wait(self.step))
        try:
            while not ended.done():
                self._news.clear()
                done, _ = await asyncio.wait({ended}, timeout=QUIET_SECONDS)
                if not done and not self._news.is_set():
                    await self._tell(self._told, None, await how(job))
            return await ended
        finally:
            ended.cancel()

    async def step(self, data: dict[str, Any]) -> None:
        """A progress event of the job: step, total, phase."""
        step, total = data.get("step") or 0, data.get("total")
        if step < self._step:
            self._before = self._told
        self._step = step
        self._news.set()
        words = f"{data.get('phase') or 'working'}: {step:g}" + (f" of {total:g}" if total else "")
        await self._tell(self._before + step, self._before + total if total else None, words)

    async def _tell(self, progress: float, total: float | None, words: str) -> None:
        self._told = progress if progress > self._told else self._told + 0.001
        await self._session.report_progress(round(self._told, 3), total, words)


async def how(job: AsyncJob) -> str:
    """How a job is that says nothing by itself."""
    record = (await job.refresh()).record
    place, seconds = record.get("position"), record.get("eta_seconds")
    words = [job.state, f"at position {place}" if place is not None else "", f"about {seconds:g} s" if seconds else ""]
    return ", ".join(filter(None, words))
