"""What every test gets: no settings of the person who runs it."""

import os

import pytest


def pytest_configure():
    """Several threads of one small network wait for each other wherever other tests take the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path_factory):
    """Neither the tests nor the processes they start see this user's token or server."""
    for name in ("STABLE_CORE_URL", "STABLE_CORE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
