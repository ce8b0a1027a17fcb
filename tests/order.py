"""`pytest -p tests.order` begins with files that take long, so that at the end no lane works alone at one of them."""

import functools
import os
import re
from pathlib import Path

ENVS = Path(__file__).resolve().parents[1] / ".envs"
FRESH = "STABLE_CORE_TESTS_FRESH"  # set by the first process of a run: all lanes have to agree on the order
ARTIST = re.compile(r"def \w+\([^)]*\bartist\b")  # the fixture of tests/conftest.py
MACHINES = re.compile(r"^from tests.* import .*(sshd|Cluster)", re.MULTILINE)


def pytest_configure():
    os.environ.setdefault(FRESH, "" if any(ENVS.glob("stable_diffusion-*/complete")) else "yes")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: -length(item.path))


@functools.cache
def length(file):
    """About how long the tests of a file take: as long as it is, and longer where it says that they are slow, or where
    other machines are started and lost, which takes time and little else; longest of all those that share a server,
    since one lane has them all. On a fresh clone they come later: when their environments are there."""
    text = file.read_text("utf-8")
    more = 40_000 * bool(MACHINES.search(text))
    if ARTIST.search(text) and not os.environ[FRESH]:
        more += 100_000
    return len(text) + 10_000 * text.count("mark.slow") + more
