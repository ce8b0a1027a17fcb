"""Models that plugins name are fetched whole or not at all, go on where they stopped, and are once on the disk."""

import json
import os
import signal
import subprocess
import sys

import pytest

from core.errors import Conflict, Forbidden, NotFound, Timeout, TooLarge
from core.library.declared import DeclaredModel
from core.library.models import Models
from core.ops import sandbox
from core.ops.packages import fetching
from tests.serving import ROOT, serve, wait_until
from tests.site import COMMIT, DATA, SHA, plugin, site
from tests.wire import Wire


@pytest.fixture
def web():
    with site() as server:
        yield server


@pytest.fixture
def models(tmp_path):
    return Models(tmp_path / "models", [])


def declared(web, name="a.safetensors", **more):
    return DeclaredModel(**{"kind": "lora", "name": name, "url": f"{web.url}/a.safetensors", "sha256": SHA} | more)


def fetch(model, models):
    said = []
    return fetching.fetch(model, models, lambda *told: said.append(told)), said


def asked(web):
    return [headers.get("Range") for method, _, headers in web.said if method == "GET"]


def files(models):
    return sorted(path.relative_to(models.folder).as_posix() for path in models.folder.rglob("*") if path.is_file())


def test_a_model_is_fetched_and_compared_with_its_hash(web, models):
    how, said = fetch(declared(web, "deep/a.safetensors", size_bytes=len(DATA)), models)
    assert how == "fetched" and models.path("lora", "deep/a.safetensors").read_bytes() == DATA
    assert said[-1] == ("check", len(DATA), len(DATA)) and ("fetch", len(DATA), len(DATA)) in said
    assert files(models) == [".fetch.lock", ".fetched.json", "lora/deep/a.safetensors"]
    assert fetch(declared(web, "deep/a.safetensors"), models)[0] == "there already" and len(asked(web)) == 1


def test_a_file_with_another_hash_is_not_kept(web, models):
    with pytest.raises(Conflict, match=f"its sha256 is {SHA} instead of {'0' * 64}"):
        fetch(declared(web, sha256="0" * 64), models)
    assert files(models) == [".fetch.lock"]


def test_a_line_that_breaks_again_and_again_costs_no_byte_twice(web, models, monkeypatch):
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    web.break_after = 1 << 20
    assert fetch(declared(web), models)[0] == "fetched"
    assert asked(web) == [None, "bytes=1048576-", "bytes=2097152-", "bytes=3145728-"]


def test_what_is_no_part_of_this_file_is_fetched_anew(web, models):
    part = models.folder / "lora" / ".a.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)  # nobody knows of what
    assert fetch(declared(web), models)[0] == "fetched" and asked(web) == [None]


def test_a_server_that_cannot_resume_sends_it_whole(web, models):
    part_of(models)
    web.resumes = False
    assert fetch(declared(web), models)[0] == "fetched" and asked(web) == ["bytes=1000-"]


def part_of(models, sha256=SHA, size=1000, **more):
    """What a fetch leaves that was killed."""
    part = models.folder / "lora" / ".a.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA[:size])
    of = {"hash": sha256, "url": "http://a/", "etag": None} | more
    part.with_name(f"{part.name}.of").write_text(json.dumps(of))
    return part


def test_a_part_is_gone_on_with_and_never_a_model(web, models):
    part_of(models)
    assert models.entries("lora") == {}
    assert fetch(declared(web), models)[0] == "fetched" and asked(web) == ["bytes=1000-"]


@pytest.mark.parametrize("code, error", [(404, NotFound), (403, Forbidden)])
def test_what_is_not_to_be_had_is_said_at_once(web, models, code, error):
    web.files["/a.safetensors"] = code, b"no"
    with pytest.raises(error, match=f"a.safetensors answers {code}"):
        fetch(declared(web), models)
    assert len(web.said) == 1


def test_a_server_in_trouble_is_tried_again_but_not_for_ever(web, models, monkeypatch):
    waited = []
    monkeypatch.setattr(fetching.time, "sleep", waited.append)
    web.files["/a.safetensors"] = 503, b"busy"
    with pytest.raises(Timeout, match="answers 503"):
        fetch(declared(web), models)
    assert waited == [1, 2, 4, 8, 16]


def test_a_web_page_is_no_model(web, models):
    web.kind = "text/html; charset=utf-8"
    with pytest.raises(Conflict, match="a web page instead of a file"):
        fetch(declared(web), models)


def test_a_size_that_is_not_the_one_that_was_named_is_not_fetched(web, models):
    with pytest.raises(Conflict, match="has 4,194,304 bytes instead of the 5 that"):
        fetch(declared(web, size_bytes=5), models)


def test_a_disk_without_space_is_found_before_the_first_byte(web, models, monkeypatch):
    monkeypatch.setattr(fetching, "SPARE", 1 << 60)
    with pytest.raises(TooLarge, match="are to come"):
        fetch(declared(web), models)
    assert files(models) == [".fetch.lock"]


def test_a_file_of_that_name_is_never_overwritten(web, models):
    own = models.folder / "lora" / "a.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(Conflict, match="has 4 bytes instead of 4,194,304"):
        fetch(declared(web, size_bytes=len(DATA)), models)
    assert own.read_bytes() == b"mine" and not web.said


def test_equal_files_are_once_on_the_disk(web, models, tmp_path):
    fetch(declared(web), models)
    how, _ = fetch(declared(web, "b.safetensors", kind="checkpoint", url="http://127.0.0.1:1/gone"), models)
    first, second = models.path("lora", "a.safetensors"), models.path("checkpoint", "b.safetensors")
    assert how == f"shared with {first}" and len(asked(web)) == 1
    first.unlink()
    assert second.read_bytes() == DATA


def test_nothing_is_written_through_links_that_a_plugin_has_put_there(web, models, tmp_path):
    secret, folder = tmp_path / "secret", models.folder / "lora"
    secret.write_text("mine")
    folder.mkdir(parents=True)
    (folder / ".a.safetensors.part").symlink_to(secret)
    (folder / ".a.safetensors.part.of").symlink_to(secret)
    assert fetch(declared(web), models)[0] == "fetched"
    (folder / "out").symlink_to(tmp_path)
    sandbox.note_written(models.folder, ["lora"])
    with pytest.raises(Conflict, match="leads out of models/lora"):
        fetch(declared(web, "out/b.safetensors"), models)
    assert secret.read_text() == "mine" and not (tmp_path / "b.safetensors").exists()


def test_a_file_that_a_plugin_in_a_sandbox_may_change_is_no_second_name_of_another(web, models):
    sandbox.note_written(models.folder, ["lora"])
    fetch(declared(web, kind="checkpoint"), models)
    fetch(declared(web), models)
    there = [models.folder / kind / "a.safetensors" for kind in ("checkpoint", "lora")]
    assert there[0].read_bytes() == there[1].read_bytes() and there[0].stat().st_ino != there[1].stat().st_ino


def test_a_file_of_another_app_needs_no_fetch(web, tmp_path):
    theirs = tmp_path / "webui" / "own name.safetensors"
    theirs.parent.mkdir()
    theirs.write_bytes(DATA)
    models = Models(tmp_path / "models", [{"kind": "lora", "path": str(theirs.parent)}])
    assert fetch(declared(web, size_bytes=len(DATA)), models)[0] == f"shared with {theirs}" and not web.said


@pytest.fixture
def hub(web, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setattr(constants, "ENDPOINT", web.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", web.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    web.files["/art/shapes/deep/a.safetensors"] = 200, DATA
    return web


def of_hub(file="deep/a.safetensors", **more):
    return DeclaredModel(kind="lora", name="a.safetensors", repo="art/shapes", file=file, **more)


def test_a_file_of_the_hub_is_that_of_one_commit_and_no_other_server_gets_the_token(hub, models):
    assert fetch(of_hub(), models)[0] == "fetched" and models.path("lora", "a.safetensors").read_bytes() == DATA
    said = [(path.partition("?")[0], headers.get("Authorization")) for _, path, headers in hub.said]
    assert (f"/art/shapes/resolve/{COMMIT}/deep/a.safetensors", "Bearer hf_secret") in said
    assert said[-1] == ("/art/shapes/deep/a.safetensors", None)


def test_a_file_that_the_hub_has_changed_is_not_fetched(hub, models):
    with pytest.raises(Conflict, match=f"sha256 {SHA} instead of {'0' * 64}"):
        fetch(of_hub(sha256="0" * 64), models)
    assert not asked(hub)


@pytest.mark.parametrize("code, error, text", [
    (403, Forbidden, "only for people who have accepted its terms"), (401, NotFound, "that you may see"),
    (404, NotFound, "has no deep/a.safetensors at main"),
])  # fmt: skip
def test_what_the_hub_does_not_give_is_said_with_the_way(hub, models, code, error, text):
    hub.files["/art/shapes/deep/a.safetensors"] = code, b""
    with pytest.raises(error, match=text):
        fetch(of_hub(), models)


def test_a_process_of_the_server_asks_the_hub_though_plugins_do_not(hub, models):
    asked_for = {"model": of_hub().model_dump(), "folder": str(models.folder), "shipped": []}
    command = [sys.executable, "-m", "core.ops.packages.fetching"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}  # as it is for all that the server starts
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment, start_new_session=True
    ) as process:
        process.stdin.write(json.dumps(asked_for).encode() + b"\n")
        process.stdin.flush()
        said = [json.loads(line) for line in process.stdout]
    assert said[-1] == {"state": "done", "phase": "fetched"} and said[-2]["phase"] == "check"


FOLDER = {
    "model_index.json": b"{}", "unet/config.json": b'{"a": 1}', "unet/weights.safetensors": DATA,
    "unet/weights.bin": DATA[1:], "vae/weights.safetensors": DATA[::-1], ".gitattributes": b"x",
}  # fmt: skip
WANTED = ["*.json", "*.safetensors"]


def of_folder(**more):
    return DeclaredModel(
        **{"kind": "pipeline", "name": "flux", "repo": "art/flux", "revision": COMMIT, "files": WANTED} | more
    )


def test_a_folder_of_the_hub_is_fetched_file_by_file_and_a_model_when_it_is_whole(hub, models, monkeypatch):
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    hub.files = {f"/art/flux/{name}": (200, data) for name, data in FOLDER.items()}
    hub.files["/art/flux/vae/weights.safetensors"] = 503, FOLDER["vae/weights.safetensors"]
    with pytest.raises(Timeout):
        fetch(of_folder(), models)
    assert (
        models.entries("pipeline") == {} and (models.folder / "pipeline" / ".flux.part" / "model_index.json").is_file()
    )

    hub.files["/art/flux/vae/weights.safetensors"] = 200, FOLDER["vae/weights.safetensors"]
    hub.said.clear()
    how, said = fetch(of_folder(size_bytes=2 * len(DATA)), models)  # about: the commit says which files they are
    assert how == "fetched" and said[-1] == ("check", 2 * len(DATA) + 10, 2 * len(DATA) + 10)
    assert {path.partition("?")[0] for method, path, _ in hub.said if method == "GET" and "/api/" not in path} == {
        f"/art/flux/resolve/{COMMIT}/vae/weights.safetensors", "/art/flux/vae/weights.safetensors"
    }  # fmt: skip
    flux = models.path("pipeline", "flux")
    inside = {path.relative_to(flux).as_posix(): path.read_bytes() for path in flux.rglob("*") if path.is_file()}
    assert inside == {name: data for name, data in FOLDER.items() if name.endswith(("json", "safetensors"))}
    assert [path.name for path in flux.parent.iterdir()] == ["flux"]
    assert fetch(declared(hub, "same.safetensors"), models)[0] == f"shared with {flux / 'unet' / 'weights.safetensors'}"


def test_parts_of_another_commit_are_not_used(hub, models):
    old = models.folder / "pipeline" / ".flux.part"
    old.mkdir(parents=True)
    (old / "model_index.json").write_bytes(b"[]")
    old.with_name(".flux.part.of").write_text(json.dumps([hub.url + "/art/flux/tree/" + "d" * 40, WANTED]))
    hub.files = {"/art/flux/model_index.json": (200, b"{}")}
    fetch(of_folder(), models)
    assert (models.path("pipeline", "flux") / "model_index.json").read_bytes() == b"{}"


def test_a_small_file_that_is_not_what_git_calls_it_is_not_kept(hub, models, monkeypatch):
    hub.files = {"/art/flux/model_index.json": (200, b"{}")}
    monkeypatch.setattr(fetching.hub, "folder", lambda model, real=fetching.hub.folder: changed(real(model)))
    with pytest.raises(Conflict, match=f"its git hash is \\w{{40}} instead of {'0' * 40}"):
        fetch(of_folder(), models)


def changed(remotes):
    for remote in remotes.values():
        remote.hash = "0" * 40
    return remotes


@pytest.mark.parametrize("wrong, text", [
    ({"name": "../a.safetensors"}, "no plain path"), ({"name": "/a"}, "no plain path"), ({"name": "a\\b"}, "pattern"),
    ({"name": ".a.part"}, "no plain path"), ({"kind": "../x"}, "pattern"), ({"sha256": None}, "use https"),
    ({"url": "file:///etc/passwd"}, "pattern"), ({"url": None}, "needs a path"), ({"sha256": "abc"}, "pattern"),
    ({"repo": "a/b", "file": "c"}, "needs a path"), ({"repo": "a/b", "url": None}, "commit as revision"),
    ({"file": "a"}, "of a repo"), ({"files": ["a"]}, "of a repo"),
    ({"repo": "a/../b", "file": "c", "url": None}, "pattern"), ({"size_bytes": -1}, "greater"),
])  # fmt: skip
def test_a_model_that_would_go_elsewhere_is_refused(wrong, text):
    right = {"kind": "lora", "name": "a.safetensors", "url": "http://a.example/a", "sha256": SHA}
    DeclaredModel(**right)
    with pytest.raises(ValueError, match=text):
        DeclaredModel(**right | wrong)


def test_the_admin_has_a_model_fetched_and_everybody_sees_it(web):
    web.seconds_a_block = 0.02
    settings = {"tokens": {"bot": "b" * 20}, "before_start": plugin(web.url)}
    with serve({}, **settings) as server, Wire(server, "b" * 20) as bot, Wire(server) as wire:

        def offer():
            (kind,) = bot.call("models")["kinds"]
            return kind["fetchable"][0]

        ask = {"id": "lora/a.safetensors", "licence": "MIT"}
        assert bot.call("fetch_model", ask)["error"]["code"] == "forbidden"
        error = wire.call("fetch_model", {"id": "lora/a.safetensors"})["error"]
        assert (error["code"], error["field"]) == ("invalid_params", "licence") and "its licence is MIT" in error[
            "message"
        ]
        assert (
            "Did you mean lora/a.safetensors"
            in wire.call("fetch_model", ask | {"id": "lora/b.safetensors"})["error"]["message"]
        )
        assert wire.call("fetch_model", ask)["fetch"]["state"] == "queued" and not offer()["there"]

        wait_until(lambda: offer()["part_bytes"])
        assert wire.call("fetch_model", ask | {"stop": True})["fetch"]["state"] == "cancelled"
        assert wire.call("fetch_model", ask)["fetch"]["state"] == "queued"
        wait_until(lambda: offer()["there"])
        wait_until(lambda: offer()["fetch"]["state"] == "done")
        assert asked(web)[0] is None and asked(web)[-1].startswith("bytes=")
        told = [body for name, body in bot.received if name == "fetching"]
        assert {body["state"] for body in told} == {"queued", "running", "cancelled", "done"}
        assert told[-1]["phase"] == "fetched" and any(0 < body["done_bytes"] < len(DATA) for body in told)
        assert wire.call("choices", {"list": "models/lora"})["choices"] == ["a.safetensors"]

        (server.folder / "models" / "lora" / "a.safetensors").unlink()
        web.files.clear()
        wire.call("fetch_model", ask)
        failed = wait_until(lambda: offer()["fetch"]["state"] == "failed" and offer()["fetch"])
        assert failed["error"]["code"] == "not_found" and "answers 404" in failed["error"]["message"]


def test_a_fetch_on_the_command_line_survives_kill_9(web, tmp_path):
    plugin(web.url)(tmp_path)
    folders = {"plugins": [str(tmp_path / "plugins")], "models": str(tmp_path / "models")}
    folders["packages"] = str(tmp_path / "packages")
    (tmp_path / "config.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in folders.items()))
    base = [sys.executable, "server.py", "plugins", "--config", str(tmp_path / "config.toml")]
    command = [*base, "fetch", "lora/a.safetensors", "--yes"]
    part = tmp_path / "models" / "lora" / ".a.safetensors.part"
    web.seconds_a_block = 0.05
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: part.exists() and part.stat().st_size > len(DATA) // 4)
        os.kill(process.pid, signal.SIGKILL)

    def run(*words, **more):
        return subprocess.run([*base, *words], cwd=ROOT, capture_output=True, text=True, check=False, **more)

    assert run("models").stdout == f"partly  lora/a.safetensors      4 MB  MIT  sha256 {SHA[:16]}  (art)\n"
    assert "there is no plugin 'arts', or it is refused. Did you mean art?" in run("models", "arts").stderr
    refused = run("fetch", "lora/a.safetensors", stdin=subprocess.DEVNULL)
    assert refused.returncode == 1 and "nobody is here to accept the licence" in refused.stderr
    web.seconds_a_block = 0
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"wrote   {tmp_path / 'models' / 'lora' / 'a.safetensors'}  fetched" in done.stdout
    assert int(asked(web)[-1].removeprefix("bytes=").rstrip("-")) >= len(DATA) // 4
    assert run("models").stdout.startswith("there ")
