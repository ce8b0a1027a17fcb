"""Which models there are: the user's files and those of plugins, and what a plugin says where to fetch."""

import os

import pytest

from tests.serving import serve
from tests.wire import Wire

DECLARED = """
[[models]]
kind = "checkpoint"
name = "builtin.safetensors"
path = "builtin.safetensors"

[[models]]
kind = "checkpoint"
name = "large.safetensors"
url = "https://models.example/large.safetensors"
size_bytes = 4_000_000_000
licence = "MIT"

[[models]]
kind = "upscaler"
name = "there.pth"
url = "https://models.example/there.pth"
"""


@pytest.fixture(scope="module")
def kinds():
    def files(folder):
        plugin, models = folder / "plugins" / "art", folder / "models"
        contents = {"checkpoint/own.ckpt": 7, "upscaler/there.pth": 5, "wildcards/animals/birds.txt": 3}
        contents |= {"pipeline/flux/model_index.json": 2, "pipeline/flux/unet/weights.safetensors": 40, "vae/.part": 9}
        contents |= {"lora/Put loras here": 0}
        for name, size in contents.items():
            path = models / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * size)
            os.utime(path, (1_000_000, 1_000_000))
        plugin.mkdir(parents=True)
        (plugin / "plugin.toml").write_text(f'name = "art"\nversion = "1"\napi = 1\n{DECLARED}')
        (plugin / "__init__.py").write_text("from core.plugin import *\nclass Art(Plugin):\n    pass\n")
        (plugin / "builtin.safetensors").write_bytes(b"weights")
        os.utime(plugin / "builtin.safetensors", (2_000_000, 2_000_000))

    with serve({}, before_start=files) as server, Wire(server, subscribe=False) as wire:
        yield {each["kind"]: each for each in wire.call("models")["kinds"]}


def test_all_folders_and_all_kinds_of_plugins_are_listed(kinds):
    assert [*kinds] == ["checkpoint", "lora", "pipeline", "upscaler", "vae", "wildcards"]
    assert kinds["vae"]["files"] == kinds["lora"]["files"] == []


def test_files_have_size_time_and_source(kinds):
    own = {"name": "own.ckpt", "size_bytes": 7, "modified": 1_000_000, "source": "folder"}
    shipped = {"name": "builtin.safetensors", "size_bytes": 7, "modified": 2_000_000, "source": "art"}
    assert kinds["checkpoint"]["files"] == [shipped, own]


def test_a_model_that_is_a_folder_is_told_whole_and_lists_are_told_by_their_path(kinds):
    (flux,), (birds,) = kinds["pipeline"]["files"], kinds["wildcards"]["files"]
    assert (flux["name"], flux["size_bytes"]) == ("flux", 42)
    assert (birds["name"], birds["size_bytes"]) == ("animals/birds.txt", 3)


def test_what_can_be_fetched_is_told_and_not_fetched(kinds):
    (large,), (there,) = kinds["checkpoint"]["fetchable"], kinds["upscaler"]["fetchable"]
    assert large == {
        "id": "checkpoint/large.safetensors", "url": "https://models.example/large.safetensors",
        "size_bytes": 4_000_000_000, "licence": "MIT", "there": False, "plugin": "art", "sha256": None, "part_bytes": 0,
        "fetch": None, "repo": None,
    }  # fmt: skip
    assert there["there"] and there["licence"] is None and there["size_bytes"] is None
