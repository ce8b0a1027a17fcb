"""The two sides of the comparison of pictures: a server with stable_diffusion, and the bare pipeline beside it."""

import contextlib
import json
import shutil
import subprocess
import time

from benchmarks.light import Light
from core.ops import environments
from tests.serving import ROOT, serve

PLUGIN = ROOT / "plugins/stable_diffusion"
MODELS = ("one", "other")
PROMPT = "a red circle on a blue background"


class Bare:
    """The pipeline in a process of its own, in the plugin's environment and on the server's device."""

    def __init__(self, device):
        self.device, self.python = device, environments.ensure(PLUGIN, ROOT / ".envs")
        self._process = subprocess.Popen(
            [str(self.python), "-W", "ignore", "-m", "benchmarks.bare_pipeline", str(PLUGIN / "builtin"), device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self._answer()

    def seconds(self, batch, steps, seed):
        self._process.stdin.write(json.dumps({"batch": batch, "steps": steps, "seed": seed}) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the bare pipeline has ended with exit code {self._process.wait()}")
        return line

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def copy_models(folder):
    """The built-in model once more under other names."""
    for name in MODELS:
        shutil.copytree(PLUGIN / "builtin", folder / "models/checkpoint" / name)


@contextlib.contextmanager
def both_sides():
    """(server, bare pipeline), with the model loaded on both sides."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serve({"stable_diffusion": PLUGIN}, copy_models))
        with Light(server) as first:
            submit(first, steps=1, seed=0)
            first.until("done")
            device = first.call("queue")["workers"][0]["device"]
        yield server, stack.enter_context(contextlib.closing(Bare(device)))


@contextlib.contextmanager
def connected(server, count):
    """So many clients. One that is not used for long is silent for too long, so connect them when they are needed."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Light(server)) for _ in range(count)]


def submit(client, steps=1, seed=0, job="txt2img", **wanted):
    """Ask for one picture, by default the one that the bare pipeline draws; or for another job. Returns its id."""
    params = {"prompt": PROMPT, "steps": steps, "seed": seed, "sampler": "Euler"} if job == "txt2img" else {}
    return client.call("submit", {"job": job, "params": params | wanted, "fresh": True})["job"]["id"]


def timed(action):
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
