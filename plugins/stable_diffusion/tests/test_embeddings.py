"""Embeddings come from every kind of file, and damaged ones hurt only those who use them."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from sd.embeddings import Embeddings, load, vectors

from core.library.models import Models
from core.plugin import InvalidParams

VECTORS = torch.arange(3 * 8).reshape(3, 8) / 8  # exact in half precision, too


@pytest.fixture
def models(tmp_path):
    (tmp_path / "embedding").mkdir()
    return Models(tmp_path, [])


def save(models, name, data):
    path = models.folder / "embedding" / name
    path.parent.mkdir(exist_ok=True)
    (save_file if path.suffix == ".safetensors" else torch.save)(data, path)
    return path


A1111 = {"string_to_token": {"*": 265}, "name": "x", "step": 100, "sd_checkpoint": None, "sd_checkpoint_name": None}


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("x.pt", A1111 | {"string_to_param": {"*": VECTORS}}, VECTORS),
        ("x.pt", A1111 | {"string_to_param": {"*": torch.nn.Parameter(VECTORS)}}, VECTORS),
        (
            "x.pt",  # of the paper's authors
            {
                "string_to_token": {"*": torch.tensor(265)},
                "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS)}),
            },
            VECTORS,
        ),
        ("x.bin", {"<cat>": VECTORS[0]}, VECTORS[:1]),
        ("x.bin", {"<cat>": VECTORS.half()}, VECTORS),
        ("x.safetensors", {"<cat>": VECTORS}, VECTORS),
        ("x.safetensors", {"emb_params": VECTORS.half()}, VECTORS),
        ("x.safetensors", {"emb_params": VECTORS[:1].bfloat16()}, VECTORS[:1]),
    ],
)
def test_every_kind_of_file_gives_its_vectors_in_float32(models, name, data, expected):
    path = save(models, name, data)
    (vector,) = load(path)
    assert torch.equal(vector, expected) and vector.dtype == torch.float32 and not vector.requires_grad
    assert vectors(path) == len(expected)
    embeddings = Embeddings(models, [8])
    assert (list(embeddings), embeddings.counts()) == (["x"], {"x": len(expected)})
    assert torch.equal(embeddings["x"], expected)
    assert list(Embeddings(models, [9])) == []


def test_names_are_those_of_the_files_in_all_folders(models):
    path = save(models, "my style.pt", {"string_to_param": {"*": VECTORS}})
    save(models, "folder/other.v2.safetensors", {"emb_params": VECTORS})
    embeddings = Embeddings(models, [8])
    assert sorted(embeddings) == ["my style", "other.v2"]
    assert ("my style" in embeddings, "none" in embeddings, len(embeddings)) == (True, False, 2)
    assert embeddings.paths["my style"] == path


def test_embeddings_for_stable_diffusion_xl_are_for_both_text_encoders_or_the_refiners(models):
    path = save(models, "xl.safetensors", {"clip_g": torch.ones(3, 16), "clip_l": VECTORS})
    assert list(Embeddings(models, [8])) == list(Embeddings(models, [24])) == list(Embeddings(models, [16, 8])) == []
    assert Embeddings(models, [8, 16]).counts() == Embeddings(models, [16]).counts() == {"xl": 3}
    assert torch.equal(Embeddings(models, [8, 16])["xl"], torch.cat([VECTORS, torch.ones(3, 16)], dim=1))
    assert torch.equal(Embeddings(models, [16])["xl"], torch.ones(3, 16))
    assert [part.shape for part in load(path)] == [(3, 8), (3, 16)]


def test_an_embedding_with_more_vectors_for_one_encoder_than_for_the_other_is_refused(models):
    save(models, "xl.safetensors", {"clip_g": torch.ones(2, 16), "clip_l": VECTORS})
    with pytest.raises(InvalidParams, match="xl.safetensors cannot be used: it has 3 and 2 vectors"):
        Embeddings(models, [8, 16])["xl"]


def test_an_old_file_of_another_width_is_refused_when_it_is_used(models):
    path = models.folder / "embedding/old.pt"
    torch.save({"string_to_param": {"*": VECTORS}}, path, _use_new_zipfile_serialization=False)
    assert Embeddings(models, [8]).counts() == Embeddings(models, [9]).counts() == {"old": 1}
    assert torch.equal(Embeddings(models, [8])["old"], VECTORS)
    with pytest.raises(InvalidParams, match="old.pt cannot be used: its vectors have 8 numbers, .* encoder has 9"):
        Embeddings(models, [9])["old"]


def test_a_file_is_looked_at_again_when_it_changes(models):
    path = save(models, "x.safetensors", {"emb_params": VECTORS})
    assert vectors(path) == 3
    save(models, "x.safetensors", {"emb_params": VECTORS[:2]})
    assert vectors(path) == 2


def test_vectors_are_read_once_and_only_when_asked_for(models):
    path = save(models, "x.safetensors", {"emb_params": VECTORS})
    embeddings = Embeddings(models, [8])
    first = embeddings["x"]
    path.unlink()
    assert embeddings["x"] is first
    assert list(Embeddings(models, [8])) == []


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_file_is_an_error_only_when_it_is_used(models, name, content):
    (models.folder / "embedding" / name).write_bytes(content)
    save(models, "good.pt", {"string_to_param": {"*": VECTORS}})
    embeddings = Embeddings(models, [8])
    assert len(embeddings["good"]) == 3
    assert embeddings.counts() == {"good": 3, "x": 1}
    with pytest.raises(InvalidParams, match=f"{name} cannot be used: it ") as caught:
        embeddings["x"]
    assert caught.value.extra["field"] == "prompt"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": VECTORS, "b": VECTORS}, "it holds 2 embeddings instead of one"),
        ({"a": 1}, "it holds 0 embeddings instead of one"),
        ([VECTORS], "it holds 0 embeddings instead of one"),
        ({"a": VECTORS[None]}, r"its vectors have the shape \(1, 3, 8\)"),
        ({"a": torch.tensor(1.0)}, r"its vectors have the shape \(\)"),
        ({"a": VECTORS, "b": Code()}, "it cannot be read"),
    ],
)
def test_a_file_that_is_no_embedding_is_refused_by_name(models, data, message, capsys):
    path = save(models, "x.pt", data)
    Embeddings(models, [8]).counts()
    with pytest.raises(InvalidParams, match=f"x.pt cannot be used: {message}"):
        load(path)
    assert "must not run" not in capsys.readouterr().out


def test_counting_vectors_needs_no_torch_and_runs_no_code(models):
    save(models, "x.pt", {"string_to_param": {"*": torch.nn.Parameter(VECTORS)}, "code": Code()})
    code = (
        "import sys; from pathlib import Path; from core.library.models import Models; "
        "from plugins.stable_diffusion.embeddings import Embeddings; "
        f"print(Embeddings(Models(Path({str(models.folder)!r}), []), [8]).counts(), 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("{'x': 3} False\n", "")
