"""What the OpenAPI document says is true of the running server, whatever is sent: schemathesis tries."""

import os
import subprocess
import sys

import pytest

from core.rest.twins import BASE
from tests.serving import serve
from tests.test_rest import DEMO
from tests.wire import Wire

pytestmark = pytest.mark.slow
OPTIONS = "--phases=examples,coverage,fuzzing,stateful --generation-deterministic --request-timeout=10 --no-color"
HOOKS = """
import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""
# What a schema cannot say: a file's content, range or source may be refused; headers that nobody knows are welcome.
# What it does not say: which inputs a job takes, and which jobs are light; which fields an action needs; that 0 is
# taken for false.
SETTINGS = f"""
warnings = false
hooks = "hooks.py"
[checks.missing_required_header]
expected-statuses = [400, 401, 412]
[[operations]]
include-path = "/artifacts"
checks.positive_data_acceptance.expected-statuses = [201, 400, 404, 413]
[[operations]]
include-path = "/artifacts/{{id}}"
checks.positive_data_acceptance.expected-statuses = [200, 206, 304, 400, 404, 416]
[[operations]]
include-path-regex = "^{BASE}/(jobs|flows|plan|call|settings|packages|models/fetch|jobs/.id./(retry|move))$"
checks.positive_data_acceptance.expected-statuses = [200, 400, 403, 404, 409, 413, 429, 502, 504]
[[operations]]
include-path-regex = "/cancel$"
checks.negative_data_rejection.enabled = false
[[operations]]
include-path-regex = "^{BASE}/uploads"
checks.negative_data_rejection.enabled = false
checks.positive_data_acceptance.expected-statuses = [200, 201, 204, 400, 404, 409, 413]
"""


def fuzz(server, folder, *options, settings=""):
    (folder / "hooks.py").write_text(HOOKS)
    (folder / "schemathesis.toml").write_text(SETTINGS + settings)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}{BASE}/openapi.json", *OPTIONS.split()]
    done = subprocess.run(
        [*command, "-H", f"Authorization: Bearer {server.token}", f"--exclude-path={BASE}/events", *options],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "Traceback" not in server.log


def about(path, id):
    """What is asked of jobs or artifacts is about this one, which is there."""
    return f'[[operations]]\ninclude-path-regex = "/{path}/.id"\nparameters."path.id" = "{id}"\n'


def test_the_server_does_what_its_document_says_whatever_is_sent(tmp_path):
    with serve({"demo": DEMO}, max_upload_bytes=100_000, cancel_grace_seconds=0) as server:
        with Wire(server) as wire:
            done, held = wire.submit("say"), wire.submit("say", hold=True)
            artifact = wire.ended(done)["outputs"][0]
        fuzz(server, tmp_path, "--max-examples=8", settings=about("jobs", done))
        there = about("jobs", held) + about("artifacts", artifact)
        more = ["--max-examples=8", "--phases=fuzzing", "--include-path-regex=/(jobs|artifacts)/.id"]
        fuzz(server, tmp_path, *more, settings=there)
        with Wire(server) as wire:
            wire.call("queue", {"action": "resume"})
            assert wire.text(wire.ended(wire.submit("say"))["outputs"][0]) == "hello"  # nobody else is harmed
