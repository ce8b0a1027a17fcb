"""docs/command-line.md: its examples run as they stand, and it names every command."""

import os
import re
import subprocess
import sys

import pytest

from clients.cli.commands import arguments
from tests.serving import ROOT
from tests.test_cli import environment, pixel

PAGE = (ROOT / "docs" / "command-line.md").read_text("utf-8")


def test_the_page_names_every_command_and_no_other():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)} - {"bash"}
    commands = next(action.choices for action in arguments()._actions if action.dest == "command")
    assert named == set(commands)


@pytest.mark.timeout(900)
@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the examples are for a Unix shell")
def test_the_examples_of_the_page_run(artist, tmp_path):
    name = f'cd {ROOT}; eval "$({sys.executable} -m clients.cli completion bash)"; cd {tmp_path}; set -euo pipefail\n'
    script = name + "set -x\n" + "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    done = subprocess.run(["bash", "-c", script], env=environment(artist), capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    assert "a red square" in done.stdout and ", on white" in done.stdout
    assert sorted(path.name for path in (tmp_path / "wishes").iterdir()) == ["0002.png", "0003.png"]
    assert len(list((tmp_path / "made").iterdir())) == 2 and len(list((tmp_path / "results").iterdir())) == 2
    assert "2 jobs would give 2 results" in done.stdout
    middle = pixel(tmp_path / "circle.png", (64, 64))
    assert middle[0] > max(middle[1:]), "a red circle"
