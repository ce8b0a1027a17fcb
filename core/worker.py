"""Inside a worker process: loads one plugin, runs its jobs, and tells the server until the server has heard it.

`python -m core.worker` reads its settings as one line of JSON from stdin and ends when stdin closes."""

import io
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engineio
import socketio

from core.artifacts import Blobs
from core.errors import Cancelled, CoreError, OutOfMemory, PluginError
from core.library.models import Models
from core.ops.describe import load_plugin, signature
from core.plugin import Context, Result
from core.types import KINDS

NAMESPACE = "/worker"
HEARTBEAT_SECONDS = 5


class _InOrder(engineio.Client):
    """Handles messages one after the other. By default each gets a thread, and a cancel may overtake its run."""

    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        return super()._trigger_event(event, *args, **options | {"run_async": False})


class _Socket(socketio.Client):
    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder


class Worker:
    def __init__(self, settings: dict[str, Any]):
        self._settings = settings
        self._plugin = load_plugin(Path(settings["folder"]))(Path(settings["folder"]))
        self._blobs = Blobs(Path(settings["blobs"]), settings["fsync"])
        self._models = Models(Path(settings["models"]), settings["shipped_models"])
        self._loading = threading.Lock()
        self._loaded = False
        self._contexts: dict[str, Context] = {}  # running jobs, by lease
        self._outbox: dict[str, dict[str, Any]] = {}  # results the server has not acknowledged, by lease
        self._sending = threading.Lock()  # a packet with an attachment is several frames, which must not interleave
        self._socket = _Socket(reconnection_delay=0.2, reconnection_delay_max=2, handle_sigint=False)
        self._socket.on("run", self._start, namespace=NAMESPACE)
        self._socket.on("cancel", self._cancel, namespace=NAMESPACE)
        self._socket.on("connect", self._ready, namespace=NAMESPACE)

    def serve(self) -> None:
        """Connect, stay connected, and beat until the process ends."""
        auth = {"token": self._settings["token"]}
        self._socket.connect(
            self._settings["url"], auth=auth, namespaces=[NAMESPACE], transports=["websocket"], retry=True
        )
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            self._emit("beat", {"memory_bytes": _memory_bytes()})
            self._resend()

    def _ready(self) -> None:
        self._emit("ready", {"leases": [*self._contexts, *self._outbox]})
        self._resend()

    def _emit(self, event: str, data: Any, callback: Any = None) -> None:
        with self._sending:
            if NAMESPACE in self._socket.namespaces:
                try:
                    self._socket.emit(event, data, namespace=NAMESPACE, callback=callback)
                except socketio.exceptions.BadNamespaceError:
                    pass  # just disconnected: results are sent again, the rest is not worth it

    def _start(self, message: dict[str, Any]) -> None:
        lease = message["lease"]
        if lease in self._contexts or lease in self._outbox:
            return
        scratch = Path(self._settings["scratch"]) / lease
        context = Context(message["id"], scratch, self._models, lambda event, body: self._tell(lease, event, body))
        self._contexts[lease] = context
        threading.Thread(target=self._run, args=(message, context), daemon=True, name=message["name"]).start()

    def _cancel(self, message: dict[str, Any]) -> None:
        if context := self._contexts.get(message["lease"]):
            context.keep_partial = message["keep_partial"]
            context._cancelled.set()

    def _tell(self, lease: str, event: str, body: dict[str, Any]) -> None:
        if event == "preview":
            small = body["image"].convert("RGB")
            out = io.BytesIO()
            small.save(out, "JPEG", quality=80)
            body = {"image": out.getvalue(), "width": small.width, "height": small.height}
        self._emit(event, body | {"lease": lease})

    def _run(self, message: dict[str, Any], context: Context) -> None:
        """One job from its parameters to its result, which is put into the outbox whatever happens."""
        lease, outputs, error, state = message["lease"], [], None, "done"
        metrics: dict[str, float] = {}
        started = time.monotonic()
        try:
            self._load(metrics)
            for output in self._outputs(message, context, metrics):
                outputs.append(output)
                if output["streamed"]:
                    self._emit("output", {"lease": lease, "output": output})
        except Cancelled as cancelled:
            state, error = "cancelled", cancelled.wire()
        except BaseException as failure:  # a plugin may raise anything, SystemExit too
            state, error = "failed", self._error(failure, context).wire()
        finally:
            if context._scratch.exists():
                shutil.rmtree(context._scratch, ignore_errors=True)
        metrics |= {"total_seconds": round(time.monotonic() - started, 4), "peak_memory_bytes": _memory_bytes()}
        self._outbox[lease] = {"lease": lease, "state": state, "outputs": outputs, "error": error, "metrics": metrics}
        del self._contexts[lease]
        self._send_result(lease)

    def _load(self, metrics: dict[str, float]) -> None:
        with self._loading:
            if not self._loaded:
                started = time.monotonic()
                self._plugin.load(self._settings["device"])
                self._loaded = True
                metrics["load_seconds"] = round(time.monotonic() - started, 4)

    def _outputs(
        self, message: dict[str, Any], context: Context, metrics: dict[str, float]
    ) -> Iterator[dict[str, Any]]:
        """Call the job's method and encode what it returns; once for each item of an input that takes one."""
        function = getattr(type(self._plugin), message["name"].split(".")[1])
        ports, port, params_name, context_name, params_class = signature(function)
        arguments: dict[str, Any] = {}
        if params_name:
            arguments[params_name] = params_class(**message["params"])
        if context_name:
            arguments[context_name] = context
        calls = [arguments]
        for name, items in message["inputs"].items():
            values = [
                KINDS[ports[name]["kind"]].decode(self._blobs.path(item["sha256"]).read_bytes()) for item in items
            ]
            choices = [values] if ports[name]["list"] else values or [None]
            calls = [call | {name: choice} for call in calls for choice in choices]
        index, encoding = 0, 0.0
        for call in calls:
            returned = function(self._plugin, **call)
            values = returned if port["list"] else [returned]
            for value in values if values is not None else []:
                encoding -= time.monotonic()
                output = self._encode(message, index, port, value)
                encoding += time.monotonic()
                metrics["encode_seconds"] = round(encoding, 4)
                yield output | {"streamed": port["list"] or len(calls) > 1}
                index += 1

    def _encode(self, message: dict[str, Any], index: int, port: dict[str, Any], value: Any) -> dict[str, Any]:
        """Turn one returned value into a blob, with the metadata the submitter wants inside."""
        result = value if isinstance(value, Result) else Result(value)
        kind, texts = KINDS[port["kind"]], {}
        record = {"artifact": f"{message['id']}.{index}"}
        if message["embed_metadata"] == "full":
            record |= {key: message[key] for key in ("name", "params", "inputs", "version")} | {"facts": result.facts}
            if "infotext" in result.facts:
                texts["parameters"] = result.facts["infotext"]
        if message["embed_metadata"] != "none":
            texts["stable-core"] = json.dumps(record)
        json.dumps(result.facts, allow_nan=False)  # raises here rather than on the wire
        data = kind.encode(result.value, texts)
        facts = {"width": result.value.width, "height": result.value.height} if kind.mime == "image/png" else {}
        return {
            "index": index, "kind": kind.name, "mime": kind.mime, "sha256": self._blobs.write(data),
            "size_bytes": len(data), "facts": facts | result.facts,
        }  # fmt: skip

    def _error(self, failure: BaseException, context: Context) -> CoreError:
        """What the client reads; the traceback goes to the job's log and the worker's."""
        text = "".join(traceback.format_exception(failure))
        print(text, file=sys.stderr, flush=True)
        context.log(text)
        if isinstance(failure, CoreError):
            return failure
        if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":
            return OutOfMemory("the memory of the device did not suffice.", hint="Try a smaller size or batch.")
        return PluginError(f"{self._settings['plugin']}: {type(failure).__name__}: {str(failure)[:500]}")

    def _send_result(self, lease: str) -> None:
        if message := self._outbox.get(lease):
            self._emit("finished", message, callback=lambda *answer: self._outbox.pop(lease, None))

    def _resend(self) -> None:
        for lease in list(self._outbox):
            self._send_result(lease)


def _memory_bytes() -> int:
    """Resident memory of this process, 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _end_with_stdin() -> None:
    """When the server is gone, stdin closes: end at once, with all that the plugin has started."""
    while sys.stdin.buffer.read1(65536):
        pass
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    settings = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    Worker(settings).serve()


if __name__ == "__main__":
    main()
