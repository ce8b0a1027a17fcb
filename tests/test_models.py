"""Where model files are found: in folders, behind links, and never outside of what was meant."""

import os

import pytest

from core.errors import ModelNotFound
from core.library.models import Models


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models" / "lora" / "portraits").mkdir(parents=True)
    (tmp_path / "models" / "lora" / "portraits" / "v2.safetensors").write_bytes(b"")
    (tmp_path / "models" / "lora" / "notes.txt").write_bytes(b"")
    (tmp_path / "secret.safetensors").write_bytes(b"")
    return Models(tmp_path / "models", [{"kind": "lora", "name": "shipped", "path": "/somewhere"}])


def test_names_are_paths_below_the_folder_of_their_kind(models):
    assert [*models.entries("lora")] == ["shipped", "portraits/v2.safetensors"]
    assert models.entries("checkpoint") == {}


def test_the_folder_of_another_app_can_be_linked_to(models, tmp_path):
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "other" / "deep" / "a.pt").write_bytes(b"")
    os.symlink(tmp_path / "other", models.folder / "embedding")
    os.symlink(tmp_path / "other", models.folder / "lora" / "other")
    assert [*models.entries("embedding")] == ["deep/a.pt"]
    assert "other/deep/a.pt" in models.entries("lora")


def test_a_link_that_goes_in_circles_is_followed_once(models):
    os.symlink(models.folder / "lora", models.folder / "lora" / "again")
    assert [*models.entries("lora")] == ["shipped", "portraits/v2.safetensors"]


@pytest.mark.parametrize("kind", ["..", ".", "", "../models/lora", "lora/portraits", "/etc"])
def test_a_kind_leads_nowhere_else(models, kind):
    assert models.entries(kind) == {}


def test_a_name_that_is_not_there_names_the_nearest(models):
    with pytest.raises(ModelNotFound, match="Did you mean portraits/v2.safetensors"):
        models.path("lora", "portraits/v3.safetensors")
    with pytest.raises(ModelNotFound):
        models.path("lora", "../../secret.safetensors")
