"""A call of the Python SDK returns as if nothing had happened, though the network or the server went away meanwhile."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients.python import stable_core as sdk
from tests.cable import Cable
from tests.serving import serve, wait_until
from tests.test_sdk import DEMO

SIZE = 5_000_000
LONG = f"""
class Long(Plugin):
    @job()
    def long(self) -> Text:
        return "x" * {SIZE}
"""
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO, "long": LONG}) as server:
        yield server


@pytest.fixture
def threads():
    with ThreadPoolExecutor() as threads:
        yield threads


def call(kind, cable, token, function, **options):
    """What `function(client)` returns, or awaits to, with a client of that kind behind the cable."""
    if kind == "sync":
        with sdk.Client(cable.url, token, **options) as client:
            return function(client)

    async def main():
        async with sdk.AsyncClient(cable.url, token, **options) as client:
            return await function(client)

    return asyncio.run(main())


@KINDS
@pytest.mark.slow
def test_a_pulled_network_and_a_killed_server_are_not_noticed(kind, threads):
    def count(client):
        return client.run("count", n=150, delay=0.03, on_progress=lambda progress: steps.append(progress["step"]))

    steps = []
    with serve({"demo": DEMO}) as server, Cable(server) as cable:
        running = threads.submit(call, kind, cable, server.token, count)
        wait_until(lambda: steps and steps[-1] > 20)
        cable.cut()
        server.kill()
        before = len(steps)
        server.start()
        cable.mend()
        output = running.result(60)[0]
        with server.client() as other:
            assert [job.record["attempt"] for job in other.jobs()] == [2]
            assert sdk.Artifact(other, output.id).text() == "counted 150"
    assert steps[-1] == 150 and len(steps) > before + 5


@KINDS
def test_a_submission_whose_answer_is_lost_makes_one_job(kind, server, threads):
    session = f"lost {kind}"
    with Cable(server) as cable, server.client() as other:

        def run(client):
            client._connected.plugins() if kind == "async" else client.plugins()  # else that answer would be lost first
            cable.deaf = True
            return client.run("count", n=2)

        running = threads.submit(call, kind, cable, server.token, run, session=session)
        wait_until(lambda: other.jobs(session=session))
        cable.cut()
        cable.mend()
        assert running.result(30) and len(other.jobs(session=session)) == 1


@KINDS
def test_an_upload_that_is_cut_goes_on_where_it_was(kind, server, threads):
    with Cable(server) as cable, server.client() as other:

        def upload(client):
            cable.cut_after = 2_000_000
            return client.upload("x" * SIZE, kind="text", name=f"{kind}.txt")

        running = threads.submit(call, kind, cable, server.token, upload)
        wait_until(lambda: cable.is_cut)
        cable.mend()
        artifact = running.result(60)
        assert (artifact.record["name"], artifact.record["size_bytes"]) == (f"{kind}.txt", SIZE)
        assert cable.passed < SIZE * 1.2
        assert sdk.Artifact(other, artifact.id).bytes() == b"x" * SIZE


@KINDS
def test_a_download_that_is_cut_goes_on_where_it_was(kind, server, threads):
    with Cable(server) as cable, server.client() as other:
        output = other.run("long")[0]

        def download(client):
            cable.cut_after = 2_000_000
            return client.download(output.id, server.folder / f"{kind}.txt")

        running = threads.submit(call, kind, cable, server.token, download)
        wait_until(lambda: cable.is_cut)
        cable.mend()
        assert running.result(60).read_text() == "x" * SIZE and cable.passed < SIZE * 1.2


def test_a_small_upload_is_sent_again(server, threads):
    with Cable(server) as cable:

        def upload(client):
            cable.cut_after = 100_000
            return client.upload("x" * 500_000, kind="text")

        running = threads.submit(call, "sync", cable, server.token, upload)
        wait_until(lambda: cable.is_cut)
        cable.mend()
        assert running.result(60).record["size_bytes"] == 500_000


def test_what_is_wrong_with_a_large_upload_is_said_at_its_end(server):
    with server.client() as client, pytest.raises(sdk.BadImage, match="not a picture"):
        client.upload(b"x" * SIZE, kind="image")


def test_patience_ends(server):
    with Cable(server) as cable, sdk.Client(cable.url, server.token, patience=1) as client:
        artifact = client.run("count")[0]
        cable.cut()
        with pytest.raises(sdk.Unreachable, match="broke before queue was answered"):
            client.queue()
        with pytest.raises(sdk.Unreachable, match="does not answer POST /api/v1/uploads"):
            client.upload(b"x" * SIZE)
        with pytest.raises(sdk.Unreachable, match=f"does not answer GET /artifacts/{artifact.id}"):
            artifact.bytes()


def test_a_retry_whose_answer_is_lost_makes_one_job(server, threads):
    with Cable(server) as cable, server.client() as other:
        first = other.submit("count", session="retried")
        first.wait()

        def retry(client):
            job = client.job(first.id)
            cable.deaf = True
            return job.retry({"n": 4}).wait()

        running = threads.submit(call, "sync", cable, server.token, retry)
        wait_until(lambda: len(other.jobs(session="retried")) == 2)
        cable.cut()
        cable.mend()
        assert running.result(30)[0] and len(other.jobs(session="retried")) == 2
        assert other.jobs(session="retried")[0].record["params"]["n"] == 4
