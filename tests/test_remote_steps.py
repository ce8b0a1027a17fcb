import ast
import asyncio
import json
import os
import random
import subprocess
import sys

import pytest

from core.errors import Conflict, InvalidParams, NotFound
from core.ops.config import ROOT, Config
from core.remote import preflight, steps, sync
from core.remote.connection import Login, connect
from core.remote.records import Remote
from tests import sshd

HOME = "/home/artist"
SCRIPTS = sorted((ROOT / "core" / "remote" / "scripts").glob("*.py"))
FACTS = {
    "folder": "/root/.stable-core/gpu", "root": True, "system": "Linux", "machine": "x86_64", "libc": ["glibc", "2.35"],
    "free_bytes": 80_000_000_000, "total_bytes": 100_000_000_000, "writable": True, "amd": 0, "ahead_seconds": 0.4,
    "pythons": [{"path": "/usr/bin/python3", "version": [3, 10, 12], "venv": True}], "installed": False,
    "nvidia": {"driver": "580.1", "cuda": [13, 0], "cards": [{"name": "RTX 4090", "total_bytes": 24 << 30}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def machine():
    with sshd.machine(size="300m") as machine:
        yield machine


def on(machine, act, key=None):
    """What `act(connection)` returns, in a connection to the machine."""
    record = Remote(name="gpu", host=machine.host, port=machine.port, user=machine.user)

    async def run():
        async with await connect(record, Login(key or machine.key)) as connection:
            return await act(connection)

    return asyncio.run(run())


def send(machine, folder, files, tell=lambda *_: None, owned=("code", "models")):
    """How many bytes it took to have just these files, {target: path}, in `folder` there."""
    items = [sync.Item(path, target) for target, path in files.items()]
    wanted = sync.Hashes(machine.folder / "hashes.json").of(items, tell)

    async def act(connection):
        async with sync.receiver(connection, "python3", f"/home/artist/{folder}") as there:
            plan = await there.plan(wanted, list(owned))
            return await sync.copy(connection, "python3", f"/home/artist/{folder}", items, plan, tell)

    return on(machine, act)


def shell(machine, script):
    machine.run("sh", "-ec", f"cd /home/artist; {script}")


def there(machine, folder):
    found = machine.home / folder
    return {
        path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file() and "run" not in path.parts
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_runs_under_any_python_there_has_no_new_syntax(script):
    tree = ast.parse(script.read_text("utf-8"), feature_version=(3, 6))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported <= sys.stdlib_module_names


def test_a_machine_that_will_do_is_told_so():
    verdicts = preflight.judge(FACTS, 10**9, "auto", (13, 0))
    assert [each.about for each in verdicts] == ["system", "python", "disk", "time", "driver"]
    assert all(each.ok and not each.warning for each in verdicts)
    assert "RTX 4090 (25.8 GB), driver 580.1, CUDA 13.0" in str(verdicts[-1])
    preflight.check(verdicts)


@pytest.mark.parametrize(
    "facts, said",
    [
        ({"pythons": []}, "it has Python older than 3.6, and 3.10 or newer is needed. Install one there"),
        ({"pythons": [{"path": "/p", "version": [3, 8, 1], "venv": True}]}, "it has Python 3.8.1, and 3.10 or newer"),
        ({"pythons": [{"path": "/p", "version": [3, 12, 1], "venv": False}]}, "apt-get install python3.12-venv"),
        ({"free_bytes": 2 * 10**9}, "has 2.0 GB free, and 6.0 GB are needed. Free some space there"),
        ({"writable": False}, "/root/.stable-core/gpu cannot be written there. Choose another folder with --folder"),
        ({"ahead_seconds": -90_000.0}, "its clock is 90,000 s behind this machine's. Packages are fetched over HTTPS"),
        ({"system": "Windows"}, "its system is Windows"),
        ({"nvidia": {"error": "Driver Not Loaded"}}, "an NVIDIA card whose driver does not answer (Driver Not Loaded)"),
        (
            {"nvidia": FACTS["nvidia"] | {"cuda": [12, 8]}},
            "PyTorch here for 13. Take a machine with a newer driver, or an",
        ),
        ({"nvidia": FACTS["nvidia"] | {"cuda": [12, 4]}}, "--torch-backend cu126"),
    ],
)
def test_what_is_wrong_with_a_machine_is_told_with_what_to_do(facts, said):
    with pytest.raises(Conflict, match="the other machine will not do: ") as caught:
        preflight.check(preflight.judge(FACTS | facts, 6 * 10**9, "auto", (13, 0)))
    assert said in f"{caught.value} {caught.value.extra['hint']}"


@pytest.mark.parametrize(
    "facts, said",
    [
        ({"ahead_seconds": 300.0}, "300 s ahead of this machine's"),
        ({"nvidia": {}}, "no GPU that we know"),
        ({"nvidia": {}, "amd": 2}, "2 AMD cards Say --torch-backend rocm6.4"),
        ({"libc": ["", ""]}, "its C library is not glibc"),
        ({"free_bytes": 6 * 10**9 + 1}, "That is close."),
    ],
)
def test_what_is_only_odd_is_a_warning(facts, said):
    verdicts = preflight.judge(FACTS | facts, 6 * 10**9, "auto", (13, 0))
    assert [said in str(each) for each in verdicts if each.warning] == [True]
    preflight.check(verdicts)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(Conflict) as caught:
        preflight.check(preflight.judge(FACTS | {"pythons": [], "free_bytes": 5}, 10**9))
    assert [each["field"] for each in caught.value.extra["errors"]] == ["python", "disk"]


def test_the_python_there_is_ours_else_the_newest_that_is_tested():
    versions = [(3, 9), (3, 10), sys.version_info[:2], (3, 13), (3, 15)]
    pythons = [{"path": f"{a}.{b}", "version": [a, b, 0], "venv": True} for a, b in versions]
    assert preflight.python_for({"pythons": pythons}) == "{}.{}".format(*sys.version_info[:2])
    others = [each for each in pythons if tuple(each["version"][:2]) != sys.version_info[:2]]
    assert preflight.python_for({"pythons": others}) in ("3.13", "3.10")
    assert preflight.python_for({"pythons": [pythons[-1]]}) == "3.15"


def test_a_machine_tells_what_it_is(machine):
    facts = on(machine, lambda connection: preflight.look(connection, "~/.stable-core/gpu"))
    assert facts["folder"] == "/home/artist/.stable-core/gpu" and facts["writable"] and not facts["root"]
    assert 0 < facts["free_bytes"] <= 300 << 20 and abs(facts["ahead_seconds"]) < 60
    assert sys.version_info[:2] in {tuple(each["version"][:2]) for each in facts["pythons"]}
    preflight.check(preflight.judge(facts, 0))


def test_files_arrive_whole_once_and_go_when_they_are_not_wanted(machine, tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.safetensors"
    one.write_text("a = 1\n")
    two.write_bytes(os.urandom(3_000_000))
    files = {"code/a/ä b.py": one, "code/b/one.py": one, "models/kind/two.safetensors": two}
    assert send(machine, "whole", files) == 3_000_012
    assert there(machine, "whole") == files.keys()
    assert (machine.home / "whole/models/kind/two.safetensors").read_bytes() == two.read_bytes()
    assert send(machine, "whole", files) == 0
    shell(machine, "cd whole; touch code/own code/b/own.pyc models/kind/theirs; mkdir code/.envs; touch code/.envs/x")
    one.write_text("a = 22\n")
    assert send(machine, "whole", {"code/b/one.py": one}) == 7
    assert there(machine, "whole") == {"code/b/one.py", "code/b/own.pyc", "models/kind/theirs", "code/.envs/x"}


def test_a_file_that_was_cut_off_goes_on_where_it_was(machine, tmp_path):
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(40_000_000))
    files = {"models/kind/large.bin": large}

    def cut(name, done, total):
        if done > 20_000_000:
            machine.drop()

    with pytest.raises((sync.asyncssh.Error, OSError)):
        send(machine, "cut", files, cut)
    assert there(machine, "cut") == {"models/kind/large.bin.part"}
    assert 0 < send(machine, "cut", files) < 39_000_000
    assert (machine.home / "cut/models/kind/large.bin").read_bytes() == large.read_bytes()


def test_what_is_there_of_another_file_is_sent_anew(machine, tmp_path):
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(5_000_000))
    shell(machine, "mkdir -p anew/models/k; head -c 1000000 /dev/urandom >anew/models/k/l.part")
    assert send(machine, "anew", {"models/k/l": large}) == 9_000_000  # 4 MB more of it, and then all
    assert (machine.home / "anew/models/k/l").read_bytes() == large.read_bytes()


def test_a_file_that_changes_meanwhile_is_not_taken(machine, tmp_path):
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(5_000_000))

    def change(name, done, total):
        large.write_bytes(b"other" if name.endswith("short") else os.urandom(5_000_000))

    for target in ("models/k/short", "models/k/other"):
        large.write_bytes(bytes(5_000_000))
        with pytest.raises(Conflict, match="large.bin was changed while it was copied"):
            send(machine, "changing", {target: large}, change)
    assert not (machine.home / "changing/models/k/other").exists()


def test_nothing_is_written_through_a_link_that_leads_out(machine, tmp_path):
    (tmp_path / "x").write_text("x")
    shell(machine, "mkdir -p outside links/code links/run; touch links/run/hashes.jsonl")
    shell(machine, f"ln -s {HOME}/outside links/code/core; ln -s {HOME}/outside/y links/code/x.part")
    assert send(machine, "links", {"code/core/x": tmp_path / "x"}) == 1  # the link was not wanted, so it went
    shell(machine, "ln -s /home/artist/outside links/models")
    with pytest.raises(Conflict, match="links/models/x is a link that leads out of .*: nothing is written there"):
        send(machine, "links", {"models/x": tmp_path / "x"})
    with pytest.raises(Conflict, match="is no path inside"):
        send(machine, "links", {"code/../../x": tmp_path / "x"})
    assert not list((machine.home / "outside").iterdir())


def test_a_full_disk_is_told_and_gone_on_from(machine, tmp_path):
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(20_000_000))
    machine.fill(5_000_000)
    try:
        with pytest.raises(Conflict, match=r"the disk of /home/artist/full on the other machine is full: .* are free"):
            send(machine, "full", {"models/k/large": large})
    finally:
        machine.free()
    assert 0 < send(machine, "full", {"models/k/large": large}) < 20_000_000


@pytest.mark.parametrize(
    "program, said",
    [
        ("exit 1", "cannot say what it is: nothing"),
        ("echo hello >&2; exit 3", "cannot say what it is: hello"),
        ("echo '[]'", "says nonsense about itself: : Input should be a valid dictionary"),
        ('echo \'{"began": "x"}\'', "says nonsense about itself: began: "),
    ],
)
def test_a_machine_with_no_python_or_a_strange_one_is_told(machine, monkeypatch, program, said):
    monkeypatch.setattr(preflight, "FIND", program)
    with pytest.raises(Conflict, match=said):
        on(machine, lambda connection: preflight.look(connection, "x"))


def test_hashing_ends_when_nobody_waits_for_it_any_more(tmp_path):
    (tmp_path / "x").write_text("x")
    hashes = sync.Hashes(tmp_path / "hashes.json")
    hashes.stop()
    with pytest.raises(InterruptedError):
        hashes.of([sync.Item(tmp_path / "x", "code/x")], print)


def test_a_login_that_prints_does_no_harm(machine, tmp_path):
    (tmp_path / "x").write_text("x")
    shell(machine, 'echo "echo Welcome; echo {}" >.bashrc')
    try:
        assert send(machine, "noisy", {"code/x": tmp_path / "x"}) == 1
        assert on(machine, lambda connection: preflight.look(connection, "noisy"))["installed"] is False
    finally:
        shell(machine, "rm .bashrc")


def config_for(tmp_path, **more):
    for name, text in {"plain": "", "jailed": "sandbox = true\n"}.items():
        folder = tmp_path / "plugins" / name
        folder.mkdir(parents=True)
        (folder / "plugin.toml").write_text(f'name = "{name}"\nversion = "1"\napi = 1\n{text}')
        (folder / "__init__.py").write_text("")
    own = {"plugins": [tmp_path / "plugins"], "packages": tmp_path / "packages", "models": tmp_path / "models"}
    return Config(**{"data": tmp_path / "data"} | own | more)


def record(**more):
    return Remote(**{"name": "gpu", "host": "h", "user": "artist", "plugins": ["plain"]} | more)


def test_what_is_copied_is_the_code_the_plugins_and_the_models_that_were_chosen(tmp_path):
    config = config_for(tmp_path)
    elsewhere = tmp_path / "elsewhere" / "dream.safetensors"
    for path in (elsewhere, tmp_path / "models/checkpoint/other.ckpt", tmp_path / "models/pipeline/p/model_index.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "models/checkpoint/dream.safetensors").symlink_to(elsewhere)
    (tmp_path / "models/checkpoint/dream.yaml").write_text("")
    (tmp_path / "plugins/plain/__pycache__").mkdir()
    (tmp_path / "plugins/plain/__pycache__/x.pyc").write_text("")
    sources = steps.sources_of(config, record(models=["checkpoint/dream*", "pipeline/*"]), strict=True)
    targets = {item.target for item in steps.items_of(sources)}
    assert {
        "code/core/worker.py",
        "code/core/migrations/1.sql",
        "code/requirements.lock",
        "code/core/remote/host.py",
    } <= targets
    assert {target for target in targets if target.startswith("code/plugins/")} == {
        f"code/plugins/plain/{n}" for n in ("plugin.toml", "__init__.py")
    }
    models = {"checkpoint/dream.safetensors", "checkpoint/dream.yaml", "pipeline/p/model_index.json"}
    assert {target for target in targets if target.startswith("models/")} == {f"models/{name}" for name in models}


def test_an_environment_that_is_another_plugins_comes_along(tmp_path):
    sources = steps.sources_of(Config(data=tmp_path), record(plugins=["diffusers"]))
    targets = {item.target for item in steps.items_of(sources)}
    shared = {target for target in targets if target.startswith("code/plugins/stable_diffusion/")}
    assert shared >= {
        f"code/plugins/stable_diffusion/{name}" for name in ("plugin.toml", "requirements.txt", "requirements.lock")
    }
    assert not any(target.endswith(".py") for target in shared)


@pytest.mark.parametrize(
    "more, settings, error, said",
    [
        ({"plugins": ["plian"]}, {}, NotFound, "there is no plugin 'plian'. Did you mean plain?"),
        (
            {"plugins": ["jailed"]},
            {},
            InvalidParams,
            "the plugin jailed cannot run on another machine: it asks for a sandbox",
        ),
        ({}, {"sandbox": "on"}, InvalidParams, "cannot run on another machine: all plugins run in a sandbox"),
        ({"models": ["checkpoint/x*"]}, {}, NotFound, r"no model fits 'checkpoint/x\*'. There are none."),
    ],
)
def test_what_cannot_be_copied_is_told(tmp_path, more, settings, error, said):
    with pytest.raises(error, match=said):
        steps.sources_of(config_for(tmp_path, **settings), record(**more), strict=True)


def test_a_model_that_was_deleted_here_does_not_keep_a_machine_away(tmp_path):
    assert steps.sources_of(config_for(tmp_path), record(models=["checkpoint/x*"])).models == {}


def test_links_that_lead_out_of_a_plugin_are_not_followed(tmp_path):
    config = config_for(tmp_path)
    (tmp_path / "plugins/plain/secret").symlink_to("/etc/passwd")
    with pytest.raises(InvalidParams, match="secret is a link that leads out of .*plain, and is not followed"):
        steps.items_of(steps.sources_of(config, record()))


def test_hashes_are_made_once_for_each_state_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("x")
    hashes, items = sync.Hashes(tmp_path / "hashes.json"), [sync.Item(tmp_path / "x", "code/x")]
    first = hashes.of(items, print)
    monkeypatch.setattr(sync.Hashes, "_sha256", lambda *_: pytest.fail("hashed again"))
    assert sync.Hashes(tmp_path / "hashes.json").of(items, print) == first
    (tmp_path / "hashes.json").write_text("{")  # its writer was killed
    monkeypatch.undo()
    assert sync.Hashes(tmp_path / "hashes.json").of(items, print) == first


def test_a_machine_is_brought_up_and_then_only_looked_at(machine, tmp_path, monkeypatch):
    told, installed = [], []

    async def install(connection, python, folder, name, record, tell):
        installed.append(name)
        shell(machine, f"mkdir -p {folder}/code/.venv/bin; ln -sf {python} {folder}/code/.venv/bin/python")
        return steps.Place(f"{folder}/code/plugins/{name}", f"{folder}/code/.venv/bin/python")

    monkeypatch.setattr(steps, "_install", install)
    sources = steps.sources_of(config_for(tmp_path), record())
    first = on(machine, lambda connection: steps.bring_up(connection, record(), sources, told.append))
    assert first.folder == "/home/artist/.stable-core/gpu" and installed == ["plain"]
    assert (machine.home / ".stable-core/gpu/code/core/worker.py").is_file()
    assert {each.name for each in told} == {"look", "copy", "ready"}
    told.clear()
    known = record(folder=first.folder)
    again = on(machine, lambda connection: steps.bring_up(connection, known, sources, told.append))
    assert (again.plugins, again.code, told, installed) == (first.plugins, first.code, [], ["plain"])
    (tmp_path / "plugins/plain/__init__.py").write_text("# new\n")
    changed = on(machine, lambda connection: steps.bring_up(connection, known, sources, told.append))
    assert changed.code != first.code and installed == ["plain", "plain"]
    machine.run("rm", "-rf", f"{first.folder}/code/.venv")
    on(machine, lambda connection: steps.bring_up(connection, known, sources, told.append))
    assert installed == ["plain"] * 3


def test_installing_tells_what_went_wrong_there(machine):
    program = "#!/bin/sh\\necho x >&2; echo stable-core: no room >&2; exit 3"
    shell(machine, f"mkdir -p bad/code; printf '{program}' >bad/python; chmod +x bad/python")
    told = []

    def install(connection):
        return steps._install(connection, f"{HOME}/bad/python", f"{HOME}/bad", "plain", record(), told.append)

    with pytest.raises(Conflict, match="installing plain on the other machine failed: no room"):
        on(machine, install)
    assert [each.text for each in told] == ["installing plain", "x", "stable-core: no room"]


def test_receiving_survives_whatever_comes(tmp_path):
    script, chance, sha256 = ROOT / "core/remote/scripts/receive.py", random.Random(2), "0" * 64
    messages = [
        {"plan": {"code/x": [1, sha256]}, "owned": ["code"]}, {"mark": 1}, {"plan": []}, [1], "x", 1e999,
        *({"file": name, "offset": 0, "size": 1, "sha256": sha256} for name in ("code/x", "../x")),
    ]  # fmt: skip
    for _ in range(10):
        text = "\n".join(map(json.dumps, chance.choices(messages, k=4)))[: chance.randint(1, 400)]
        words = [sys.executable, "-I", script, tmp_path / "f"]
        done = subprocess.run(words, input=text.encode(), capture_output=True, timeout=20)
        for line in done.stdout.splitlines():
            json.loads(line)
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("folder", ["theirs/code", "their-home"])
def test_what_somebody_else_has_there_is_neither_removed_nor_closed(machine, tmp_path, folder):
    (tmp_path / "x").write_text("x")
    shell(machine, f"mkdir -p {folder}; echo 1 >{folder}/thesis.tex; chmod 755 {folder}")
    with pytest.raises(Conflict, match=f"{folder} holds thesis.tex, which was not put there by us"):
        send(machine, folder.partition("/")[0], {"code/x": tmp_path / "x"})
    assert there(machine, folder) == {"thesis.tex"}
    assert (machine.home / folder).stat().st_mode & 0o777 == 0o755
