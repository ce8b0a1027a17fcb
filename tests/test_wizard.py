"""The wizard asks little, checks all before it writes, overwrites nothing; what it writes works untouched."""

import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import wave

import PIL.Image
import PIL.ImageChops
import pytest

from core.ops.wizard import asking
from core.ops.wizard.kinds import KINDS
from tests.serving import GREETING, ROOT, serve, wait_until
from tests.wire import Wire


def wizard(into, *words):
    """A run of it without a terminal: the exit code."""
    return asking.main([*words, "--into", str(into)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a plugin of each kind: "Kind Text" is kind_text ..."""
    into = tmp_path_factory.mktemp("written")
    for kind in KINDS:
        assert wizard(into, f"Kind {kind}", "--kind", kind, *([] if kind == "text-to-image" else ["--no-git"])) == 0
    return into


@pytest.fixture(scope="module")
def wire(written):
    folders = {folder.name: folder for folder in written.glob("kind_*")}
    with serve(folders) as server, Wire(server) as wire:
        yield wire


@pytest.fixture
def picture(wire):
    out = io.BytesIO()
    PIL.Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(out, "PNG")
    return wire.upload(out.getvalue())["artifact"]["id"]


def made(wire, job, params=None, **inputs):
    """The bytes of each output."""
    ended = wire.ended(wire.submit(job, params, inputs=inputs))
    assert ended["state"] == "done", ended
    return [wire.download(output).content for output in ended["outputs"]]


def image(data):
    return PIL.Image.open(io.BytesIO(data)).convert("RGB")


def test_all_kinds_are_announced_as_they_are_written(wire):
    plugins = {plugin["name"]: plugin for plugin in wire.call("plugins")["plugins"]}
    assert {name: plugin["status"] for name, plugin in plugins.items()} == dict.fromkeys(
        ["kind_" + kind.replace("-", "_") for kind in KINDS], "ready"
    )
    assert [job["name"] for job in plugins["kind_program"]["jobs"]] == [
        "kind_program", "kind_program_hue", "kind_program_sheet",
    ]  # fmt: skip


def test_text_becomes_a_picture_in_its_colours(wire):
    params = {"prompt": "red and yellow", "width": 128, "height": 64, "seed": 1}
    [data] = made(wire, "kind_text_to_image", params)
    red, green, blue = (sum(n * count for n, count in enumerate(each.histogram())) for each in image(data).split())
    assert image(data).size == (128, 64) and red > green > blue


def test_a_picture_is_changed(wire, picture):
    [data] = made(wire, "kind_image_to_image", {"colours": 3, "outlines": False}, image=picture)
    assert len(image(data).getcolors()) == 3


def test_one_picture_is_laid_over_another(wire, picture):
    [data] = made(wire, "kind_several_inputs", {"opacity": 0.5}, image=picture, overlay=picture)
    [print] = made(wire, "kind_image_to_image", {"strength": 0}, image=picture)
    assert max(high for _, high in PIL.ImageChops.difference(image(data), image(print)).getextrema()) <= 1


def test_a_text_becomes_several(wire):
    text = wire.upload(b"a cat", kind="text")["artifact"]["id"]
    texts = made(wire, "kind_text", {"count": 2, "styles": "ink, oil"}, text=text)
    assert sorted(texts) == [b"a cat, ink", b"a cat, oil"]


def test_notes_become_a_sound(wire):
    [data] = made(wire, "kind_audio", {"notes": "C4 E4", "tempo": 120})
    with wave.open(io.BytesIO(data)) as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(1, abs=0.01)


def test_a_light_job_answers_at_once(wire):
    answer = wire.call("call", {"job": "kind_light", "params": {"prompt": "red red rose"}})
    assert answer["outputs"] == [{"tokens": 3, "limit": 75, "warnings": ["twice or more: red"]}], answer


def test_a_program_makes_a_sheet_of_its_jobs(wire, picture):
    [data] = made(wire, "kind_program", {"count": 3, "columns": 3}, image=picture)
    assert image(data).size == (3 * 264 + 8, 272)


def test_their_own_tests_pass(written):
    folders = [str(folder) for folder in written.glob("kind_*/tests") if "text_to_image" not in str(folder)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*command, *folders], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "71 passed" in done.stdout, done.stdout


def test_the_one_with_most_jobs_keeps_what_plugins_promise(written):
    """That of the tutorial is tested there."""
    command = [sys.executable, "server.py", "plugins", "test", str(written / "kind_program")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and ", 0 failed" in done.stdout, done


def test_what_a_killed_wizard_has_left_is_removed_by_the_next(tmp_path):
    old, new = tmp_path / ".wizard-old", tmp_path / ".wizard-new"
    for folder in (old, new):
        (folder / "mine").mkdir(parents=True)
    os.utime(old, (1, 1))
    assert wizard(tmp_path, "Mine", "--kind", "light", "--no-git") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".wizard-new", "mine"]


def test_inspection_finds_nothing_to_warn_of(written):
    from core.ops.packages.inspection import inspect

    for folder in written.glob("kind_*"):
        report = inspect(folder)
        assert not report.warnings, folder


def test_the_git_repository_holds_everything(written):
    git = ["git", "-C", str(written / "kind_text_to_image")]
    if not subprocess.run([*git, "config", "user.name"], capture_output=True).stdout:
        pytest.skip("git does not know who runs the tests, so nothing is committed")
    held = subprocess.run([*git, "ls-files"], capture_output=True, text=True).stdout.splitlines()
    assert held == sorted([
        ".github/workflows/test.yml", ".gitignore", "LICENSE", "README.md", "__init__.py", "plugin.toml",
        "requirements.lock", "requirements.txt", "ruff.toml", "tests/test_kind_text_to_image.py",
    ])  # fmt: skip
    assert not subprocess.run([*git, "status", "--porcelain"], capture_output=True).stdout


def test_who_git_does_not_know_gets_the_plugin_and_gits_words(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    assert wizard(tmp_path, "Mine", "--kind", "light") == 0
    assert "Nothing is committed yet, as git says: fatal: " in capsys.readouterr().err


HOSTILE = ('It\'s "quoted" \\N and {{ braces }} {% raw %} ${{ x }}', "描く" * 12, "\\" * 40 + "'''\"\"\"")


def test_code_is_clean_whatever_the_names_are(tmp_path):
    for number, text in enumerate(HOSTILE):
        for kind in KINDS:
            name = f"{'abc'[number]}{kind.replace('-', '')[:6]}".ljust(
                32 * bool(number), "x"
            )  # the longest name has 32
            words = ["--name", name, "--description", text, "--author", text, "--packages", ""]
            assert wizard(tmp_path, f"A {text[:20]}", "--kind", kind, *words, "--no-git", "--no-lock") == 0
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, "--no-cache", tmp_path], capture_output=True)
        assert done.returncode == 0, done.stdout.decode()
    from core.ops.config import tomllib

    for manifest in tmp_path.glob("*/plugin.toml"):
        assert tomllib.loads(manifest.read_text("utf-8"))["author"] in HOSTILE


@pytest.mark.parametrize("packages", ["scipy\u2028-r other.txt", "sci\udcffpy"])
def test_packages_are_one_line_each_of_text(tmp_path, packages):
    assert wizard(tmp_path, "Mine", "--kind", "text", "--packages", packages) == 1
    assert not [*tmp_path.iterdir()]


def test_all_that_is_wrong_with_flags_is_said_at_once(tmp_path, capsys):
    words = ["--kind", "texd", "--name", "2 x", "--licence", "\n", "--packages", "-r x", "--job", "import"]
    assert wizard(tmp_path, "!", *words) == 1
    said = capsys.readouterr().err
    for part in ("Did you mean text?", "title has a letter", "'2 x' has to be", "spdx.org", "'-r x' is no package"):
        assert part in said
    assert "'import' means something else" in said and not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "title: say one"),
        (["描く"], "name: '' has to be"),
        (["Text"], "plugins/text already"),
        (["Mine", "--job", "txt2img"], "stable_diffusion announces txt2img already"),
        (["Taken"], "nothing is overwritten"),
        (["Con"], "Windows has no folders"),
        (["Mine", "--into", "nowhere"], "nowhere is no folder"),
        (["Mine", "--packages", "scipy, numpy !!"], "'numpy !!' is no package"),
        (["Mine", "--licence", "scipy"], "'scipy' is none. Say MIT"),
        (["Mine", "--kind", "text", "--packages", "pydantic==1.10"], "contradict"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_leaves_nothing(tmp_path, capsys, words, said):
    (tmp_path / "taken").mkdir()
    assert asking.main(["--into", str(tmp_path), *words]) == 1
    assert said in capsys.readouterr().err.replace(os.sep, "/")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"] and not [*(tmp_path / "taken").iterdir()]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
def test_it_asks_five_things_again_if_need_be_and_ctrl_c_leaves_nothing(tmp_path):
    pexpect = pytest.importorskip("pexpect")
    command = [sys.executable, ["plugin_wizard.py", "--into", str(tmp_path), "--no-git"]]
    asked = ["Kind, by name or number [text-to-image]: ", "Title, as people read it: ", "What it does, in a sentence ["]
    asked += ["What else it needs from PyPI, with commas [none]: ", "Licence [MIT]: "]
    terminal = pexpect.spawn(*command, cwd=ROOT, encoding="utf-8", timeout=30)
    for question, answers in zip(asked, (["9", "4"], ["", "Text"], [""], [""]), strict=False):
        for answer in answers:
            terminal.expect_exact(question)
            terminal.sendline(answer)
        if answers[-1] == "Text":  # the name that follows from it is taken
            terminal.expect_exact("Name of its folder, which commands use [text_2]: ")
            terminal.sendline("")
    terminal.expect_exact(asked[-1])
    terminal.sendintr()
    terminal.expect_exact("Nothing was written.")
    assert not [*tmp_path.iterdir()]


def clone(folder):
    """Of this repository, as far as a plugin that is being written needs it, with the environments that are there."""
    hidden = shutil.ignore_patterns("node_modules", "dist", "web", "data")
    for name in ("core", "clients", "tests", "plugins/text"):
        shutil.copytree(ROOT / name, folder / name, ignore=hidden)
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*requirements*"), ROOT / "pyproject.toml", ROOT / "LICENSE"]:
        shutil.copy(path, folder)
    for name in (".venv", ".envs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "config.toml").write_text('port = 0\nweb = "off"\nbridges = "off"\n')
    return folder


@pytest.mark.skipif(os.name != "posix", reason="the clone has links to the environments of this one")
def test_the_tutorial_leads_from_the_wizard_to_a_picture(tmp_path):
    tutorial = (
        (ROOT / "docs/plugins.md").read_text("utf-8").split("## From the wizard to a picture")[1].split("\n## ")[0]
    )
    folder, environment = clone(tmp_path / "clone"), os.environ | {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b"}
    environment |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@b"}
    log, server = tmp_path / "server.log", None
    try:
        for language, block in re.findall(r"```(\w*)\n(.*?)```", tutorial, re.DOTALL):
            if language == "diff":
                apply = ["git", "-C", "plugins/neon_waves", "apply", "-"]
                subprocess.run(apply, cwd=folder, env=environment, input=block, text=True, check=True)
                wait_until(lambda: log.read_text().count("plugin    neon_waves: neon_waves") == 2, 60)
                continue
            for line in block.splitlines():
                program, *words = shlex.split(line)
                command = [sys.executable if program == "python3" else program, *words]
                if words == ["server.py"]:
                    with log.open("wb") as output:
                        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
                    wait_until(lambda: "Ctrl-C stops." in log.read_text(), 120)
                    environment["STABLE_CORE_URL"] = GREETING.search(log.read_text())[1]
                else:
                    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
                    assert done.returncode == 0, (line, done.stdout, done.stderr, log.read_text() if server else "")
    finally:
        if server:
            server.send_signal(signal.SIGINT)
            server.wait(20)
    waves, mirrored = (PIL.Image.open(folder / name).convert("RGB") for name in ("waves.png", "mirrored.png"))
    assert waves.size == (512, 512)
    differ = PIL.ImageChops.difference(mirrored, mirrored.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT))
    assert max(high for _, high in differ.getextrema()) <= 1
    log_of_git = subprocess.run(["git", "-C", folder / "plugins/neon_waves", "log", "--format=%s"], capture_output=True)
    assert log_of_git.stdout.decode().splitlines()[0] == "Mirror the waves"
