"""Uploads and downloads that go on after a cut, with tus' own client."""

import base64
import io
import os
import random
import socket
import time

import pytest
import requests
from tusclient.client import TusClient

from core.rest import uploads
from tests.serving import serve, wait_until
from tests.test_uploads import COPY, encoded, red
from tests.wire import Wire

DATA = random.Random(3).randbytes(700_000).hex().encode()  # 1.4 MB of text
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = TUS | {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def server():
    with serve({"copy": COPY}, max_upload_bytes=2_000_000) as server:
        yield server


def token(server):
    return {"Authorization": f"Bearer {server.token}"}


def uploader(server, data=DATA, metadata=None, **options):
    client = TusClient(server.url + uploads.PATH, headers=token(server))
    return client.uploader(file_stream=io.BytesIO(data), metadata=metadata or {}, **options)


def ask(server, method, path, headers=(), **options):
    url = server.url + path
    return requests.request(method, url, headers=token(server) | dict(headers), timeout=20, **options)


def begin(server, length, **metadata):
    pairs = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items())
    headers = TUS | {"Upload-Length": str(length)} | ({"Upload-Metadata": pairs} if pairs else {})
    return ask(server, "POST", uploads.PATH, headers)


def send(server, path, data, offset):
    return ask(server, "PATCH", path, BYTES | {"Upload-Offset": str(offset)}, data=data)


def offset(server, path):
    return int(ask(server, "HEAD", path, TUS).headers["Upload-Offset"])


def artifact(server, path):
    """The record and bytes of what the upload has become."""
    id = ask(server, "HEAD", path, TUS).headers["Upload-Artifact"]
    return ask(server, "GET", f"/api/v1/artifacts/{id}").json()["artifact"], ask(
        server, "GET", f"/artifacts/{id}"
    ).content


def cut(server, path, at, data, promised):
    """A PATCH whose connection ends in its middle."""
    head = f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {promised}\r\nUpload-Offset: {at}\r\n"
    head += "".join(f"{key}: {value}\r\n" for key, value in (BYTES | token(server)).items())
    with socket.create_connection(("127.0.0.1", server.port), 5) as raw:
        raw.sendall(head.encode() + b"\r\n" + data)


def test_a_picture_in_pieces_becomes_the_artifact_it_would_be_in_one(server):
    data = encoded(red(300, 200))
    upload = uploader(server, data, {"filename": "red.png", "filetype": "image/png", "session": "s"}, chunk_size=100)
    upload.upload()
    record, content = artifact(server, upload.url.removeprefix(server.url))
    assert content == data and record["facts"] == {"width": 300, "height": 200}
    assert (record["kind"], record["name"], record["session"]) == ("image", "red.png", "s")
    assert list((server.folder / "data" / "uploads").iterdir()) == []


def test_a_finished_upload_is_an_input_like_any_other(server):
    upload = uploader(server, encoded(red()))
    upload.upload()
    with Wire(server) as wire:
        ended = wire.ended(wire.submit("size", inputs={"image": upload.url.rsplit("/", 1)[1]}))
        assert wire.text(ended["outputs"][0]) == "RGB 8x4"


def test_an_upload_in_pieces_may_say_what_it_was_made_from(server):
    first = ask(server, "HEAD", begin(server, 0).headers["Location"], TUS).headers["Upload-Artifact"]
    answer = begin(server, 3, source=first)
    send(server, answer.headers["Location"], b"abc", 0)
    assert artifact(server, answer.headers["Location"])[0]["source"] == first
    refused = begin(server, 0, source="nothing")
    assert refused.json()["error"]["code"] == "unknown_artifact"


def test_a_cut_connection_costs_what_was_not_sent_yet(server):
    path = begin(server, len(DATA)).headers["Location"]
    cut(server, path, 0, DATA[:500_000], len(DATA))
    wait_until(lambda: offset(server, path) == 500_000)
    cut(server, path, 500_000, DATA[500_000:500_007], 1000)
    wait_until(lambda: offset(server, path) == 500_007)
    upload = uploader(server, url=server.url + path)
    upload.upload()
    assert artifact(server, path)[1] == DATA


def test_an_upload_goes_on_after_kill_9_of_the_server():
    with serve({"copy": COPY}) as server:
        upload = uploader(server, chunk_size=300_000)
        upload.upload_chunk()
        path = upload.url.removeprefix(server.url)
        with socket.create_connection(("127.0.0.1", server.port), 5) as raw:
            head = f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\nUpload-Offset: 300000\r\n"
            head += "".join(f"{key}: {value}\r\n" for key, value in (BYTES | token(server)).items())
            raw.sendall(head.encode() + b"\r\n" + DATA[300_000:800_000])
            part = server.folder / "data" / "uploads" / f"{path.rsplit('/', 1)[1]}.part"
            wait_until(lambda: part.stat().st_size > 700_000)
            server.kill()
        kept = part.stat().st_size
        server.restart()
        assert offset(server, path) == kept
        uploader(server, url=server.url + path).upload()
        assert artifact(server, path)[1] == DATA


def test_a_server_killed_before_the_last_answer_finishes_the_upload_when_asked():
    with serve({"copy": COPY}) as server:
        path = begin(server, len(DATA), name="late.txt").headers["Location"]
        send(server, path, DATA[:-1], 0)
        server.kill()
        with (server.folder / "data" / "uploads" / f"{path.rsplit('/', 1)[1]}.part").open("ab") as part:
            part.write(DATA[-1:])  # what is on the disk when it is killed between the last byte and the answer
        server.restart()
        record, content = artifact(server, path)
        assert content == DATA and record["name"] == "late.txt"
        listed = ask(server, "GET", "/api/v1/artifacts").json()["artifacts"]
        assert [each["id"] for each in listed] == [record["id"]]


def test_a_wrong_offset_is_a_conflict_and_changes_nothing(server):
    path = begin(server, 10).headers["Location"]
    assert send(server, path, b"01234", 0).headers["Upload-Offset"] == "5"
    for at in (0, 4, 6):
        answer = send(server, path, b"xxxxx", at)
        assert answer.status_code == 409 and answer.json()["error"]["code"] == "conflict"
    assert send(server, path, b"56789", 5).headers["Upload-Artifact"] and artifact(server, path)[1] == b"0123456789"


def test_bytes_for_a_finished_upload_are_refused_and_none_at_its_end_are_fine(server):
    path = begin(server, 5).headers["Location"]
    assert send(server, path, b"01234", 0).status_code == 204
    assert send(server, path, b"01234", 0).status_code == 409
    assert send(server, path, b"", 5).headers["Upload-Artifact"] and artifact(server, path)[1] == b"01234"
    assert not (server.folder / "data" / "uploads" / f"{path.rsplit('/', 1)[1]}.part").exists()


def test_the_latest_of_two_requests_about_an_upload_counts(server):
    """The earlier one's connection may be dead without the server knowing."""
    path = begin(server, 10).headers["Location"]
    head = f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nUpload-Offset: 0\r\n"
    head += "".join(f"{key}: {value}\r\n" for key, value in (BYTES | token(server)).items())
    with socket.create_connection(("127.0.0.1", server.port), 5) as silent:
        silent.sendall(head.encode() + b"\r\n")
        time.sleep(0.2)
        assert offset(server, path) == 0
        assert send(server, path, b"0123456789", 0).status_code == 204
        silent.sendall(b"x" * 10)
        assert b" 409 " in silent.recv(1000).split(b"\r\n")[0]
    assert artifact(server, path)[1] == b"0123456789"


def test_first_bytes_may_come_with_the_creation_and_none_are_needed_for_an_empty_file(server):
    headers = BYTES | {"Upload-Length": "10"}
    answer = ask(server, "POST", uploads.PATH, headers, data=b"01234")
    assert answer.status_code == 201 and answer.headers["Upload-Offset"] == "5" and answer.headers["Upload-Expires"]
    assert send(server, answer.headers["Location"], b"56789", 5).status_code == 204
    empty = begin(server, 0, kind="text")
    assert artifact(server, empty.headers["Location"])[1] == b"" and empty.headers["Upload-Artifact"]


def test_a_dropped_upload_is_gone_and_so_is_one_that_nobody_went_on_with_for_a_day(server):
    dropped, old = (begin(server, 10).headers["Location"] for _ in range(2))
    assert ask(server, "DELETE", dropped, TUS).status_code == 204
    part = server.folder / "data" / "uploads" / f"{old.rsplit('/', 1)[1]}.part"
    os.utime(part, (time.time() - 25 * 3600,) * 2)
    for path in (dropped, old):
        assert ask(server, "HEAD", path, TUS).status_code == 404
        assert send(server, path, b"0123456789", 0).json()["error"]["code"] == "not_found"
    begin(server, 10)
    assert not part.exists() and not part.with_suffix(".json").exists()


@pytest.mark.parametrize(
    "data, metadata, code",
    [
        (b"x" * 100, {"kind": "image"}, "bad_image"),
        (encoded(red(200, 200))[:300], {}, "bad_image"),
        (b"\xff\xfe\x00", {"kind": "text"}, "type_mismatch"),
    ],
)
def test_bytes_that_are_not_what_they_say_are_refused_in_the_end_and_forgotten(server, data, metadata, code):
    path = begin(server, len(data), **metadata).headers["Location"]
    answer = send(server, path, data, 0)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == code
    assert ask(server, "HEAD", path, TUS).status_code == 404


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Upload-Length": "10"}, 412),
        (TUS | {"Upload-Length": "2000001"}, 413),
        (TUS | {"Upload-Length": "-1"}, 400),
        (TUS | {"Upload-Length": "1e3"}, 400),
        (TUS | {"Upload-Defer-Length": "1"}, 400),
        (TUS | {"Upload-Length": "10", "Upload-Metadata": "name ???"}, 400),
        (TUS | {"Upload-Length": "10", "Upload-Metadata": "colour cmVk"}, 400),
        (TUS | {"Upload-Length": "10", "Upload-Metadata": "kind c291cA=="}, 400),
        (TUS | {"Upload-Length": "10", "Upload-Metadata": "session Li4vLi4="}, 400),
    ],
)
def test_an_upload_that_cannot_become_anything_is_not_begun(server, headers, status):
    answer = ask(server, "POST", uploads.PATH, headers)
    assert answer.status_code == status and answer.json()["ok"] is False
    assert answer.headers["Tus-Version"] == "1.0.0"


def test_uploads_need_the_token_and_keep_to_their_folder_and_length(server):
    path = begin(server, 10).headers["Location"]
    assert requests.head(server.url + path, headers=TUS, timeout=10).status_code == 401
    assert ask(server, "HEAD", f"{uploads.PATH}/..%2f..%2flock", TUS).status_code == 404
    assert send(server, path, b"x" * 11, 0).status_code == 413
    assert ask(server, "PATCH", path, TUS | {"Upload-Offset": "0"}, data=b"x").status_code == 415
    override = BYTES | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert ask(server, "POST", path, override, data=b"x").headers["Upload-Offset"] == "1"
    options = requests.options(server.url + uploads.PATH, timeout=10)
    assert options.headers["Tus-Max-Size"] == "2000000" and "termination" in options.headers["Tus-Extension"]


def test_one_persons_unfinished_uploads_keep_nobody_else_from_beginning():
    bot = {"Authorization": "Bearer a token that nobody would guess"}
    with serve({}, tokens={"bot": bot["Authorization"].removeprefix("Bearer ")}) as server:
        path = begin(server, 10).headers["Location"]
        server.kill()
        first = server.folder / "data" / "uploads" / f"{path.rsplit('/', 1)[1]}.json"
        for number in range(1, uploads.MAX_UNFINISHED):
            copy = first.with_name(f"{number:026}.json")
            copy.write_text(first.read_text())
            copy.with_suffix(".part").touch()
        server.restart()
        assert begin(server, 10).status_code == 429
        url, headers = server.url + uploads.PATH, TUS | {"Upload-Length": "10"}
        assert requests.post(url, headers=headers | bot, timeout=20).status_code == 201
        assert ask(server, "DELETE", path, TUS).status_code == 204 and begin(server, 10).status_code == 201


# Downloads


def test_a_download_goes_on_where_it_was_cut(server):
    with Wire(server) as wire:
        record = wire.upload(DATA)["artifact"]
    path = f"/artifacts/{record['id']}"
    whole = ask(server, "GET", path, stream=True)
    etag, start = whole.headers["ETag"], whole.raw.read(300_000)
    whole.close()
    rest = ask(server, "GET", path, {"Range": f"bytes={len(start)}-", "If-Range": etag})
    assert rest.status_code == 206 and start + rest.content == DATA
    assert rest.headers["Content-Range"] == f"bytes 300000-{len(DATA) - 1}/{len(DATA)}"


@pytest.mark.parametrize(
    "headers, status, length",
    [
        ({"Range": "bytes=0-0"}, 206, 1),
        ({"Range": "bytes=-5"}, 206, 5),
        ({"Range": "bytes=5-99"}, 206, 5),
        ({"Range": "bytes=10-"}, 416, None),
        ({"Range": "bytes=0-4", "If-Range": '"another"'}, 200, 10),
        ({"Range": "lines=1-2"}, 416, None),
    ],
)
def test_ranges_are_those_of_http(server, headers, status, length):
    with Wire(server) as wire:
        id = wire.upload(b"0123456789")["artifact"]["id"]
    answer = ask(server, "GET", f"/artifacts/{id}", headers)
    assert answer.status_code == status and (length is None or len(answer.content) == length)
    assert status != 416 or (answer.headers["Content-Range"] == "bytes */10" and answer.json()["ok"] is False)
