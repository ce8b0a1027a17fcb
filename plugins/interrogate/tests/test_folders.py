"""Folders of CLIP and BLIP as people have them, whole and spoilt: each is used, or refused with what is wrong."""

import json
import pickle

import PIL.Image
import pytest
import torch
from tiny_models import write_tagger

from core.plugin import InvalidParams, ModelNotFound

PICTURE = PIL.Image.new("RGB", (9, 9), "red")


@pytest.fixture
def folder(clip, tmp_path):
    return tmp_path / "models/clip/tiny"


def rank(ask):
    return ask("rank", PICTURE, clip="tiny", phrases="red\nblue")["lists"]["phrases"]


def edited(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def as_pickle(folder, value=None):
    from safetensors.torch import load_file

    torch.save(value or load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


class Harm:
    def __reduce__(self):
        return pytest.fail, ("the pickle was run",)


def test_config_tokenizer_and_weights_suffice(ask, folder):
    wanted = rank(ask)
    for file in folder.iterdir():
        if file.name not in ("config.json", "tokenizer.json", "model.safetensors"):
            file.unlink()
    assert rank(ask) == wanted


def test_older_weights_are_read(ask, folder):
    wanted = rank(ask)
    as_pickle(folder)
    assert rank(ask) == wanted


def test_older_files_have_more_and_fewer_tensors(ask, folder, blip, tmp_path):
    """Positions, which are counted now, and what is tied to another tensor."""
    from safetensors.torch import load_file, save_file

    wanted = rank(ask)
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, folder / "model.safetensors")
    assert rank(ask) == wanted
    file = tmp_path / "models/captioner/tiny/model.safetensors"
    caption = ask("interrogate", PICTURE, mode="caption", captioner="tiny", longest=5).value
    weights = load_file(file)
    tied = {name for name in weights if name.startswith("text_decoder.cls.predictions.decoder.")}
    words = weights["text_decoder.bert.embeddings.word_embeddings.weight"]
    again = {"text_decoder.cls.predictions.decoder.weight": words.clone()}
    for each in ({name: weights[name] for name in weights if name not in tied}, weights | again):
        save_file(each, file)
        assert ask("interrogate", PICTURE, mode="caption", captioner="tiny", longest=5).value == caption


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda folder: edited(folder, model_type="siglip"), "its type is 'siglip', and CLIP's is 'clip'"),
        (lambda folder: (folder / "config.json").write_text("[]"), "its type is 'None'"),
        (lambda folder: (folder / "config.json").write_text("{" * 9999), "config.json cannot be read"),
        (lambda folder: edited(folder, vision_config={"num_hidden_layers": 10**9}), "num_hidden_layers = 1000000000"),
        (lambda folder: edited(folder, text_config={"vocab_size": 9_000_000, "hidden_size": 768}), "and name far more"),
        (lambda folder: edited(folder, projection_dim=10**12), "projection_dim = 1000000000000"),
        (lambda folder: edited(folder, projection_dim=9), "weights are mismatched: "),
        (lambda folder: edited(folder, projection_dim="many"), "cannot be used: "),
        (lambda folder: (folder / "model.safetensors").unlink(), "no file named"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" + bytes(20)), "cannot be used: "),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "its tokenizer cannot be read"),
        (lambda folder: as_pickle(folder, {"harm": Harm()}), "reading it would run code"),
        (
            lambda folder: (as_pickle(folder), (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harm())))[0],
            "holds other things than weights",
        ),
    ],
)
def test_what_cannot_be_used_is_told(ask, folder, spoil, why):
    spoil(folder)
    with pytest.raises(InvalidParams, match="(models/clip/tiny|pytorch_model.bin) cannot be used: ") as told:
        rank(ask)
    assert why in str(told.value) and told.value.extra["hint"]


def test_weights_that_are_not_all_there_are_not_made_up(ask, folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    lacking = [name for name in weights if "layers.1" in name]
    save_file({name: weights[name] for name in weights if name not in lacking}, folder / "model.safetensors")
    with pytest.raises(InvalidParams, match=rf"weights are missing: .* and {len(lacking) - 3} more"):
        rank(ask)


def test_folders_of_the_wrong_kind_are_named(ask, clip, blip, tmp_path):
    (tmp_path / "models/clip/tiny").rename(tmp_path / "models/captioner/clip")
    (tmp_path / "models/captioner/tiny").rename(tmp_path / "models/clip/tiny")
    write_tagger(tmp_path / "models/captioner/tagger.onnx", 2)
    with pytest.raises(InvalidParams, match="its type is 'blip', and CLIP's is 'clip'"):
        rank(ask)
    with pytest.raises(InvalidParams, match="its type is 'clip', and BLIP's is 'blip'"):
        ask("interrogate", PICTURE, mode="caption", captioner="clip")
    with pytest.raises(InvalidParams, match="and this is a file"):
        ask("interrogate", PICTURE, mode="caption", captioner="tagger.onnx")


def test_names_do_not_lead_out(ask):
    for name in ("../../etc", "/etc/passwd", ""):
        with pytest.raises(ModelNotFound):
            ask("tag", PICTURE, model=name)
