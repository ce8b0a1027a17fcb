"""The README's numbers and commands are true."""

import re
import shlex

import PIL.Image
import pytest
from conftest import FOLDER

from core.plugin import ModelNotFound

README = (FOLDER / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^python3 -m clients\.cli run (.+)$", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run_or_say_which_model_they_need(ask, command):
    job, *options = shlex.split(command)
    given = dict(zip((name.removeprefix("--") for name in options[::2]), options[1::2], strict=True))
    assert given.pop("image")
    picture = PIL.Image.new("RGB", (64, 64), "white")
    if job == "tag":
        assert ask(job, picture, **given).value == "white background"
    else:
        with pytest.raises(ModelNotFound, match="clip-vit-large-patch14"):
            ask(job, picture, **given)


def test_sizes_and_licences_are_those_of_the_manifest():
    tomllib = pytest.importorskip("tomllib")
    for model in tomllib.loads((FOLDER / "plugin.toml").read_text("utf-8"))["models"]:
        (row,) = (line for line in README.splitlines() if line.startswith(f"| `{model['kind']}/{model['name']}` |"))
        assert f"| {model['licence']} |" in row and model.get("repo", "") in row
        assert f" {model['size_bytes']:,} |" in row if "size_bytes" in model else "| in this repository |" in row


def test_lists_have_as_many_phrases_as_told():
    from interrogating.lists import phrase_lists

    count = sum(len(each.phrases) for each in phrase_lists(FOLDER, FOLDER).values())
    assert f"with {count} phrases" in README


def test_every_file_is_named():
    for file in FOLDER.glob("*.py"):
        assert f"| `{file.name}` |" in README
