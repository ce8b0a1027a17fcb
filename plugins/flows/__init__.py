"""Flows: jobs made of jobs, as files. And `wait`, which programs cool a machine down with."""

import time

from core.plugin import Context, Json, Params, Plugin, job, param

AT_ONCE = 500  # equal for all: a process runs as many jobs as the least sociable in it allows
LOOK_SECONDS = 0.2


class Wait(Params):
    seconds: float = param(5, ge=0, le=86_400, unit="seconds", help="How long.")


class Flows(Plugin):
    @job(program=True, concurrency=AT_ONCE)
    def wait(self, params: Wait, ctx: Context) -> Json:
        """Wait, and take no device meanwhile: a program that draws much lets a machine cool down with it."""
        begun = ctx.once("begun", time.time)  # after a restart it waits for what is left
        while (rest := begun + params.seconds - time.time()) > 0:
            ctx.raise_if_cancelled()
            ctx.progress(params.seconds - min(rest, params.seconds), params.seconds, "wait")
            time.sleep(min(rest, LOOK_SECONDS))
        return {"seconds": params.seconds}
