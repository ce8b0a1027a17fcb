"""The Python SDK for asyncio does what the sync one does, waits without threads, and tells of all events."""

import asyncio
import contextlib
import inspect
import threading

import PIL.Image
import pytest

from clients.python import stable_core as sdk
from tests.cable import Cable
from tests.serving import serve, wait_until
from tests.test_sdk import DEMO


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO}) as server:
        yield server


def with_client(server, function, **options):
    """Runs `await function(client)`."""

    async def main():
        async with sdk.AsyncClient(server.url, server.token, **options) as client:
            return await asyncio.wait_for(function(client), 60)

    return asyncio.run(main())


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["Client", "Job", "Artifact"])
def test_both_have_one_vocabulary(name):
    sync, other = getattr(sdk, name), getattr(sdk, f"Async{name}")
    for each in public(sync):
        theirs = getattr(other, each)
        if inspect.isfunction(theirs):
            named = [list(inspect.signature(function).parameters) for function in (getattr(sync, each), theirs)]
            assert named[0] == named[1], each


def test_run_returns_the_outputs_and_tells_how_far_it_is(server):
    steps, previews = [], []

    async def count(client):
        async def progress(data):
            steps.append(data["step"])

        done = await client.run(
            "count", n=30, delay=0.02, word="seen", on_progress=progress, on_preview=previews.append
        )
        return [await output.text() for output in done], done[0].record["kind"]

    assert with_client(server, count) == (["seen 30"], "text")
    assert steps == sorted(steps) and steps[-1] == 30 and previews


def test_events_tell_the_whole_story_in_order(server):
    async def numbers(client):
        job = await client.submit("numbers", {"n": 2})
        story = [(event.type, event.data.get("state") or event.data.get("idx")) async for event in job.events()]
        return [event for event in story if event != ("job", "queued")]

    assert with_client(server, numbers) == [("job", "running"), ("artifact", 0), ("artifact", 1), ("job", "done")]


def test_pictures_go_in_and_come_out(server, tmp_path):
    async def turn(client):
        picture = PIL.Image.new("RGB", (3, 2), "blue")
        picture.putpixel((0, 0), (255, 0, 0))
        uploaded = await client.upload(picture)
        once = await client.submit("turn", inputs={"image": uploaded})
        twice = await client.submit("turn", inputs={"image": once})
        saved = await (await twice.wait())[0].save(tmp_path / "twice.png")
        return (await once.outputs[0].image()).getpixel((2, 1)), PIL.Image.open(saved).getpixel((0, 0))

    assert with_client(server, turn) == ((255, 0, 0), (255, 0, 0))


def test_errors_are_those_of_the_sync_client(server):
    async def fail(client):
        with pytest.raises(sdk.InvalidParams, match="n: 0 is less than the minimum of 1"):
            await client.run("count", n=0)
        with pytest.raises(sdk.PluginError, match="no way"):
            await client.run("fail")
        with pytest.raises(TimeoutError, match="goes on"):
            await client.run("count", n=50, delay=0.03, timeout=0.3)

    with_client(server, fail)


def test_hundreds_of_jobs_are_waited_for_without_threads(server):
    async def wait(client):
        jobs = await client.flow([{"job": "count", "params": {"n": 1, "delay": 0, "word": str(k)}} for k in range(300)])
        waits = [asyncio.create_task(job.wait()) for job in jobs]
        await asyncio.sleep(0.5)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("stable-core")]
        outputs = await asyncio.gather(*waits)
        return len(threads), [await each[0].text() for each in outputs[::100]]

    threads, texts = with_client(server, wait)
    assert threads < 10 and texts == ["0 1", "100 1", "200 1"]


def test_a_cancelled_wait_leaves_the_job_alone_and_nothing_behind(server):
    async def wait(client):
        job = await client.submit("count", {"n": 100, "delay": 0.02})
        waiting = asyncio.create_task(job.wait())
        await asyncio.sleep(0.3)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert not job._job._listeners and len(asyncio.all_tasks()) <= 2  # main, and wait_for's in Python 3.10 and 3.11
        return await (await job.wait())[0].text()

    assert with_client(server, wait) == "counted 100"


def test_events_that_belong_to_no_job_of_ours_are_told(server):
    with server.client() as other:

        async def listen(client):
            heard = asyncio.Queue()
            stop = client.on_event(lambda type, data: heard.put_nowait((type, data.get("paused"))))
            for action in ("pause", "resume"):
                await asyncio.to_thread(other.queue, action)
            first = [await heard.get(), await heard.get()]
            stop()
            await asyncio.to_thread(other.run, "count")
            await client.queue()
            return first, heard.qsize()

        assert with_client(server, listen) == ([("queue", True), ("queue", False)], 0)


def test_a_listener_that_fails_disturbs_nobody(server, monkeypatch):
    failures, heard = [], []
    monkeypatch.setattr(threading, "excepthook", lambda failure: failures.append(str(failure.exc_value)))
    with server.client() as client:
        client.on_event(lambda type, data: 1 / 0)
        client.on_event(lambda type, data: heard.append(type))
        assert client.run("count", n=2)[0].text() == "counted 2"
    assert {"job", "artifact", "progress"} <= {*heard} and {*failures} == {"division by zero"}


def test_a_broken_cable_is_not_noticed(server):
    with Cable(server) as cable:

        async def numbers(client):
            job = await client.submit("numbers", {"n": 40, "delay": 0.05})
            story = []
            async for event in job.events(timeout=60):
                story.append(event.data["idx"] if event.type == "artifact" else event.data.get("state"))
                if story[-1] in (5, 20):
                    cable.cut()
                    threading.Timer(0.5, cable.mend).start()
            return [each for each in story if each != "queued"]

        async def main():
            async with sdk.AsyncClient(cable.url, server.token) as client:
                return await numbers(client)

        assert asyncio.run(main()) == ["running", *range(40), "done"]


def test_closing_ends_waits_and_calls(server):
    async def close(client):
        job = await client.submit("count", {"n": 1000, "delay": 0.05})
        waiting = asyncio.create_task(job.wait())
        await asyncio.sleep(0.2)
        await client.close()
        with pytest.raises(sdk.Unreachable, match="closed"):
            await waiting
        return job.id

    id = with_client(server, close)
    with server.client() as other:
        other.cancel(id)


def test_a_connection_that_nobody_waits_for_any_more_is_closed(server, monkeypatch):
    closed, close = [], sdk.Client.close
    monkeypatch.setattr(sdk.Client, "close", lambda client: (close(client), closed.append(client)))

    async def give_up():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(sdk.AsyncClient(server.url, server.token).connect(), 0.001)

    asyncio.run(give_up())
    wait_until(lambda: closed and not closed[0].online)


def test_a_client_that_is_not_connected_says_how():
    async def forget():
        await sdk.AsyncClient("http://127.0.0.1:1").run("count")

    with pytest.raises(RuntimeError, match="async with AsyncClient"):
        asyncio.run(forget())
