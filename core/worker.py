"""Inside a worker process: loads one plugin, runs its jobs, and tells the server until the server has heard it.

`python -m core.worker` reads its settings as one line of JSON from stdin. It ends when stdin closes, or, detached, when
the server says so."""

import json
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from core.errors import Cancelled
from core.library import calling, inside, usage
from core.library.children import SIDE, Waiting
from core.library.models import Models
from core.library.ordered import NAMESPACE, OrderedClient
from core.ops import ending
from core.ops.describe import load_plugin, settings_class
from core.plugin import Context

HEARTBEAT_SECONDS = 5


class Worker:
    def __init__(self, settings: dict[str, Any]):
        self._settings = settings
        self.plugin = load_plugin(Path(settings["folder"]))(Path(settings["folder"]))
        self.plugin.settings = settings_class(type(self.plugin))(**settings["plugin_settings"])
        self._blobs = inside.blobs(settings)
        self._models = self.plugin.models = Models(
            Path(settings["models"]), settings["shipped_models"], settings["fetchable_models"]
        )
        self._loading = threading.Lock()
        self.loaded, self._started = False, 0
        self._contexts: dict[str, Context] = {}  # running jobs, by lease
        self._outbox: dict[str, dict[str, Any]] = {}  # results the server has not acknowledged, by lease
        self._socket = OrderedClient(settings, lambda: ending.end([self]))
        handlers = {"run": self._start, "cancel": self._cancel, "skip": self._skip, "connect": self._ready}
        for event, handler in handlers.items():
            self._socket.on(event, handler, namespace=NAMESPACE)

    def serve(self) -> None:
        """Connect, stay connected, and beat until the process ends."""
        while True:
            self._socket.reach()
            time.sleep(HEARTBEAT_SECONDS)
            self._socket.send_if_connected("beat", {"memory_bytes": self._memory()})
            self._resend()

    def _ready(self) -> None:
        self._socket.send_if_connected("ready", {"leases": [*self._contexts, *self._outbox]})
        self._resend()

    def _start(self, message: dict[str, Any]) -> None:
        lease = message["lease"]
        if lease in self._contexts or lease in self._outbox:
            return
        scratch = Path(self._settings["scratch"]) / lease
        context = Context(
            message["id"], scratch, self._models, lambda event, body: self._tell(lease, event, body), self._blobs,
            lambda event, body: self._socket.ask(event, body | {"lease": lease}), lambda: len(self._contexts),
        )  # fmt: skip
        context.low_memory = bool(message["low_memory"])
        self._contexts[lease] = context
        # A new thread for each job: one that is kept would keep its OpenMP threads, too, and as soon as there are more
        # of these than cores, libgomp lets them sleep at every barrier, which makes small networks half as fast.
        threading.Thread(target=self._run, args=(message, context), daemon=True, name=message["name"]).start()

    def _cancel(self, message: dict[str, Any]) -> None:
        if context := self._contexts.get(message["lease"]):
            context.keep_partial = message["keep_partial"]
            context._cancelled.set()

    def _skip(self, message: dict[str, Any]) -> None:
        if context := self._contexts.get(message["lease"]):
            context.skips += 1

    def _tell(self, lease: str, event: str, body: dict[str, Any]) -> None:
        body = calling.preview(body["image"]) if event == "preview" else body
        self._socket.send_if_connected(event, body | {"lease": lease})

    def _run(self, message: dict[str, Any], context: Context) -> None:
        """One job from its parameters to its result, which is put into the outbox whatever happens."""
        lease, outputs, error, state = message["lease"], [], None, "done"
        metrics: dict[str, float] = {}
        more: dict[str, Any] = {"value": None} if message["light"] else {}
        self._started += 1
        number, alone, started = self._started, len(self._contexts) == 1, time.monotonic()
        peak = usage.Peak(self._settings["device"])
        try:
            if message["light"] == "plan":
                more["value"] = calling.plan(self.plugin, message, context)
            elif message["light"]:
                more["value"] = calling.call_light(self.plugin, self._blobs, message, context)
            else:
                self._load(metrics)
                for output in calling.call(self.plugin, self._blobs, message, context, metrics):
                    outputs.append(output)
                    if output["streamed"]:
                        self._socket.send_if_connected("output", {"lease": lease, "output": output})
        except Waiting as waiting:
            state, more["waits_for"] = "waiting", waiting.needs
        except Cancelled as cancelled:
            state, error = "cancelled", cancelled.wire()
        except BaseException as failure:  # a plugin may raise anything, SystemExit too
            state, error = "failed", calling.explain(failure, self._settings["plugin"], context).wire()
        finally:
            shutil.rmtree(context._scratch, ignore_errors=True)
        if error and error["code"] == "out_of_memory":
            usage.give_back(self._settings["device"])
        if alone and number == self._started:  # nobody else was inside, so the peak is its own
            metrics["peak_bytes"] = peak.bytes()
        metrics |= {"total_seconds": round(time.monotonic() - started, 4), "memory_bytes": self._memory()}
        result = {"lease": lease, "state": state, "outputs": outputs, "error": error, "metrics": metrics}
        self._outbox[lease] = calling.sendable(result | more, self._settings["max_message_bytes"], self._blobs)
        del self._contexts[lease]
        self._send_result(lease)

    def _load(self, metrics: dict[str, float]) -> None:
        with self._loading:
            if not self.loaded and self._settings["device"] != SIDE:
                started = time.monotonic()
                self.plugin.load(self._settings["device"])
                self.loaded = True
                metrics["load_seconds"] = round(time.monotonic() - started, 4)

    def _memory(self) -> int:
        return usage.used_bytes(self._settings["device"])

    def _send_result(self, lease: str) -> None:
        if message := self._outbox.get(lease):
            event = "answered" if "value" in message else "finished"
            self._socket.send_if_connected(event, message, callback=lambda *answer: self._outbox.pop(lease, None))

    def _resend(self) -> None:
        for lease in list(self._outbox):
            self._send_result(lease)


if __name__ == "__main__":
    settings = json.loads(sys.stdin.buffer.readline())
    workers: list[Worker] = []
    ending.prepare(settings, workers)
    workers.append(Worker(settings))
    workers[0].serve()
