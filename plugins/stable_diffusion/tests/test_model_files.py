"""Which files and folders are models: what is read from them, what is written, and what is said of the others."""

import functools
import gzip
import hashlib
import io
import json
import math
import pickle
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import tiny_models
import torch
from diffusers.loaders import single_file_utils
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from sd.lora import names_in_unet
from sd.model_files import CONFIG, OLD_VAE, Stored, opened
from sd.original import OPEN_CLIP, PLACES, UNET, VAE, plain
from sd.placement import Placement
from sd.saving import save
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from core.errors import Conflict
from core.plugin import InvalidParams

PUBLISHED = {  # architecture, channels, width of the context, heads
    "v1-5": ("sd1", 4, 768, 8),
    "v1-5-inpainting": ("sd1", 9, 768, 8),
    "instruct-pix2pix": ("sd1", 8, 768, 8),
    "v2-1": ("sd2", 4, 1024, [5, 10, 20, 20]),
    "v2-inpainting": ("sd2", 9, 1024, [5, 10, 20, 20]),
    "sdxl-base": ("sdxl", 4, 2048, [5, 10, 20]),
    "sdxl-refiner": ("sdxl-refiner", 4, 1280, [6, 12, 24, 24]),
}


CLIP_G = PLACES["sdxl"]["text_encoder_2"][0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made(kind) gives the folder of a tiny model, and the file that it was written to in the original layout."""
    folder, models = tmp_path_factory.mktemp("models"), {}

    def made(kind):
        if kind not in models:
            more = {"time_cond_proj_dim": 16} if kind == "distilled" else {}
            here = tiny_models.BUILTIN
            if kind != "builtin":
                here = tiny_models.write(folder / kind, "sd1" if more else kind, **more)
            file = folder / f"{kind}.safetensors"
            save(file, opened(kind, here), torch.float32, {"made": "for tests"})
            models[kind] = here, file
        return models[kind]

    return made


def weights_of(source):
    return {
        (part, name): w for part in source.parts for name, w in source.module(part, torch.float32).state_dict().items()
    }


@pytest.mark.parametrize("kind", ["builtin", "distilled", *tiny_models.UNETS])
def test_a_model_is_the_same_after_it_was_written_in_the_original_layout(made, kind):
    folder, file = (opened(kind, path) for path in made(kind))
    assert (file.architecture, file.prediction) == (folder.architecture, folder.prediction)
    before, after = weights_of(folder), weights_of(file)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert file.metadata == {"made": "for tests"}


@pytest.mark.parametrize("kind", ["builtin", *tiny_models.UNETS])
def test_weights_are_those_that_the_libraries_read_of_a_folder(made, kind):
    folder, _ = made(kind)
    classes = {
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
    }
    source = opened(kind, folder)
    for part in source.parts:
        theirs = classes[part].from_pretrained(folder / part, local_files_only=True).float().state_dict()
        ours = source.module(part, torch.float32).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_tokenizer_is_the_same_after_it_was_written(made):
    folder, file = (opened("sdxl", path) for path in made("sdxl"))
    for part in ("text_encoder", "text_encoder_2"):
        before, after = folder.tokenizer(part), file.tokenizer(part)
        words = "a red circle, <weird> ünïcode 12 on  a blue background!"
        assert before(words).input_ids == after(words).input_ids
        assert before.pad_token_id == after.pad_token_id
    assert folder.tokenizer("text_encoder").pad_token_id != folder.tokenizer("text_encoder_2").pad_token_id


def diffusers_names(checkpoint, source):
    """What diffusers' converters make of a file, by part."""
    convert = single_file_utils
    found = {
        "unet": convert.convert_ldm_unet_checkpoint(checkpoint, source.configs["unet"]),
        "vae": convert.convert_ldm_vae_checkpoint(checkpoint, source.configs["vae"]),
    }
    for part in source.parts:
        if part.startswith("text_encoder"):
            prefix, kind = PLACES[source.architecture][part]
            if kind == OPEN_CLIP:
                found[part] = convert.convert_open_clip_checkpoint(source.empty(part), checkpoint, prefix)
            else:
                found[part] = convert.convert_ldm_clip_checkpoint(checkpoint, prefix)
    return found


@pytest.mark.parametrize("kind", ["builtin", *tiny_models.UNETS])
def test_diffusers_reads_what_is_written_as_we_do(made, kind):
    _, file = made(kind)
    source, theirs = opened(kind, file), diffusers_names(safetensors.torch.load_file(file), opened(kind, file))
    for part in source.parts:
        ours = {plain(name): each for name, each in source.module(part, torch.float32).state_dict().items()}
        converted = {plain(name): each for name, each in theirs[part].items()}
        assert ours.keys() == converted.keys()
        assert all(torch.equal(ours[name], converted[name]) for name in ours)


def published():
    """Names and shapes in the files that were published, by model."""
    text = gzip.decompress((Path(__file__).parent / "data/published_keys.txt.gz").read_bytes()).decode()
    for section in text.removeprefix("# ").split("\n# "):
        model, *lines = section.splitlines()
        yield model, {name: json.loads(shape) for name, shape in (line.split(" ") for line in lines)}


def hollow(path, shapes, metadata=None):
    """A .safetensors file in float16 with these names and shapes, and nothing in them: it takes no room on the disk."""
    header, end = {"__metadata__": metadata or {}}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


@pytest.fixture
def without_memory(monkeypatch):
    """Weights have names and shapes and take no memory."""
    monkeypatch.setattr(Stored, "tensor", lambda self, name: torch.empty(self.shapes[name], device="meta"))


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_files_are_opened_to_the_last_weight(model, tmp_path, without_memory):
    architecture, channels, width, heads = PUBLISHED[model]
    source = opened(
        model, hollow(tmp_path / f"{model}.safetensors", dict(published())[model], {"modelspec.prediction_type": "v"})
    )
    assert (source.architecture, source.prediction) == (architecture, "v_prediction")
    unet, *_ = [source.module(part, torch.float16) for part in ("unet", *source.parts)]
    assert (unet.config.in_channels, unet.config.cross_attention_dim) == (channels, width)
    assert unet.config.attention_head_dim == heads


def test_published_files_hold_what_is_known_of_them():
    shapes = dict(published())
    assert {model: len(names) for model, names in shapes.items() if model.startswith("sdxl")} == {
        "sdxl-base": 2515,
        "sdxl-refiner": 1858,
    }
    attention = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    assert [shapes[model][attention] for model in ("v1-5", "v2-1")] == [[320, 768], [320, 1024]]
    assert shapes["sdxl-base"]["conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"] == [
        3840,
        1280,
    ]
    assert shapes["sdxl-refiner"]["model.diffusion_model.label_emb.0.0.weight"] == [1536, 2560]


def test_clips_tokens_are_the_published_ones(tmp_path, without_memory):
    shapes = dict(published())
    tokenizer = opened("x", hollow(tmp_path / "x.safetensors", shapes["v1-5"])).tokenizer()
    assert tokenizer("a photo of an astronaut riding a horse").input_ids == [
        49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 49407
    ]  # fmt: skip
    assert (len(tokenizer), tokenizer.pad_token_id) == (49408, 49407)
    assert opened("y", hollow(tmp_path / "y.safetensors", shapes["v2-1"])).tokenizer().pad_token_id == 0


def rewritten(path, to, change=lambda tensors: None, metadata=None):
    """A copy of a file with other weights or metadata, by default with none of what we say in it."""
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    if to.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, to, metadata)
    else:
        torch.save(tensors, to)
    return to


def answering(value):
    """A change of a file's UNet, which then always estimates `value`."""

    def change(tensors):
        tensors["model.diffusion_model.out.2.weight"].zero_()
        tensors["model.diffusion_model.out.2.bias"].fill_(value)

    return change


@pytest.mark.parametrize(("value", "prediction"), [(0.4, "epsilon"), (-0.6, "v_prediction")])
def test_what_a_file_of_stable_diffusion_2_estimates_is_tried_out(made, tmp_path, value, prediction):
    source = opened("x", rewritten(made("sd2-v")[1], tmp_path / "x.safetensors", answering(value)))
    assert source.prediction is None
    unet = source.module("unet", torch.float32)
    source.settle(unet, Placement("cpu"))
    assert (source.prediction, unet.config.sample_size) == (prediction, {"epsilon": 64, "v_prediction": 96}[prediction])


def test_what_a_file_estimates_is_told_by_metadata_by_its_sidecar_or_by_a_key(made, tmp_path):
    file = made("sdxl")[1]

    def prediction(path):
        return opened("x", path).prediction

    assert prediction(rewritten(file, tmp_path / "a.safetensors")) == "epsilon"
    assert (
        prediction(rewritten(file, tmp_path / "b.safetensors", metadata={"modelspec.prediction_type": "v"}))
        == "v_prediction"
    )
    (tmp_path / "a.yaml").write_text("model: {params: {parameterization: v}}")
    assert prediction(tmp_path / "a.safetensors") == "v_prediction"
    flags = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    keys = rewritten(file, tmp_path / "c.safetensors", lambda tensors: tensors.update(flags))
    assert prediction(keys) == "v_prediction"
    assert opened("c", keys).configs["scheduler"]["rescale_betas_zero_snr"] is True


ENDLESS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]\n" for a, b in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENDLESS + "model: {params: {parameterization: *m}}", "parameterization is no text"),
        ("model: {params: !!python/object/apply:os.system [exit]}", "could not determine a constructor"),
        ("#" * 1_000_001, "too large"),
    ],
    ids=["endless", "code", "large"],
)
def test_a_sidecar_runs_nothing_and_takes_no_time(made, tmp_path, text, message):
    path = rewritten(made("sd1")[1], tmp_path / "x.safetensors")
    path.with_suffix(".yaml").write_text(text)
    with pytest.raises(InvalidParams, match=f"x.yaml cannot be read as a configuration of the model: .*{message}"):
        opened("x", path)


def test_a_pickled_file_is_read_without_running_what_is_in_it(made, tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("it ran",)

    tensors = safetensors.torch.load_file(made("sd1")[1])
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": tensors, "epoch": 3}, path)
    state = opened("x", path).module("text_encoder", torch.float32).state_dict()
    assert torch.equal(
        state["final_layer_norm.weight"], tensors["cond_stage_model.transformer.text_model.final_layer_norm.weight"]
    )
    torch.save({"state_dict": tensors, "callbacks": Trap()}, path)
    with pytest.raises(InvalidParams, match="x.ckpt cannot be read: reading it would run code .print.; take"):
        opened("x", path)


def test_moving_averages_are_read_only_if_there_is_nothing_else(made, tmp_path):
    def averaged(tensors):
        for name in [name for name in tensors if name.startswith(UNET)]:
            tensors["model_ema." + name.removeprefix("model.").replace(".", "")] = tensors[name] + 1

    def only(tensors):
        averaged(tensors)
        for name in [name for name in tensors if name.startswith(UNET)]:
            del tensors[name]

    file, sums = made("sdxl")[1], []
    metadata = {CONFIG: safetensors.safe_open(file, "pt").metadata()[CONFIG]}
    for change in (lambda tensors: None, averaged, only):
        unet = opened("x", rewritten(file, tmp_path / "x.safetensors", change, metadata)).module("unet", torch.float32)
        sums.append(unet.conv_in.weight.mean().item())
    assert sums == [sums[0], sums[0], pytest.approx(sums[0] + 1, abs=1e-5)]


def test_a_folder_is_read_in_halves_as_variant_and_as_pickle(made, tmp_path):
    folder = made("sd1")[0]
    whole = opened("x", folder).module("unet", torch.float32).state_dict()
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    for options in ({"variant": "fp16"}, {"max_shard_size": "1MB"}, {"safe_serialization": False}):
        copy = shutil.copytree(folder, tmp_path / next(iter(options)))
        (copy / "unet/diffusion_pytorch_model.safetensors").unlink()
        unet.save_pretrained(copy / "unet", **options)
        source = opened("x", copy)
        assert all(
            torch.equal(whole[name], each) for name, each in source.module("unet", torch.float32).state_dict().items()
        )
    next((tmp_path / "max_shard_size/unet").glob("*-00001-*")).unlink()
    with pytest.raises(InvalidParams, match="unet has . of . files of diffusion_pytorch_model.safetensors"):
        opened("x", tmp_path / "max_shard_size")


def adding(name, *shape):
    return lambda tensors: tensors.update({name: torch.ones(shape)})


def lacking(*beginnings):
    def change(tensors):
        for name in [name for name in tensors if name.startswith(beginnings)]:
            del tensors[name]

    return change


def test_a_file_without_a_vae_is_a_model_that_needs_one(made, tmp_path):
    source = opened("x", rewritten(made("sd1")[1], tmp_path / "x.safetensors", lacking(VAE)))
    with pytest.raises(InvalidParams, match="x.safetensors holds no VAE") as error:
        source.module("vae", torch.float32)
    assert error.value.wire()["hint"] == "Choose one of models/vae as vae."


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("sd1", lacking("cond_stage_model."), "holds no text encoder"),
        ("sdxl", lacking("conditioner.embedders.1."), "holds no second text encoder"),
        ("sd1", lacking(UNET, "cond_"), "is a VAE; put it into models/vae"),
        ("sd1", lacking(UNET + "middle_block.0.in_layers.0.bias"), "UNet: middle_block.0.in_layers.0.bias is missing"),
        ("sd1", lacking(UNET + "middle_block.2"), r"UNet: middle_block.2.emb_layers.1.bias \(and 9 more\) is missing"),
        ("sd1", adding(UNET + "x", 1), "UNet: x is not known"),
        ("sd1", adding(VAE + "quant_conv.bias", 3), r"quant_conv.bias is \[3\] instead of \[8\]"),
        ("sd1", adding(VAE + "encoder.mid.attn_1.q.weight", 8, 8, 3, 3), r"VAE: encoder.mid.attn_1.q.weight is \[8, 8"),
        ("sdxl", adding(CLIP_G + "transformer.resblocks.0.attn.in_proj_bias", 1), r"second.* is \[1\]"),
        ("sd1", adding(UNET + "input_blocks.0.0.weight", 32, 7, 3, 3), "takes 7 channels"),
        ("sdxl", adding("edm_mean", 1), "EDM's noise levels"),
    ],
)  # fmt: skip
def test_a_file_that_lacks_something_is_refused_by_what_it_lacks(made, tmp_path, kind, change, message):
    whole = made(kind)[1]
    config = {} if "7" in message else {CONFIG: safetensors.safe_open(whole, "pt").metadata()[CONFIG]}
    path = rewritten(whole, tmp_path / "x.safetensors", change, config)
    with pytest.raises(InvalidParams, match=f"model 'x' cannot be used: .*x.safetensors.* {message}"):
        weights_of(opened("x", path))


def zipped():
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("notes.txt", "no weights")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.safetensors", lambda whole: b"", "it is empty"),
        ("x.ckpt", lambda whole: b"", "it is empty"),
        ("x.safetensors", lambda whole: b"<!DOCTYPE html><html>", "it is a web page, not weights"),
        ("x.ckpt", lambda whole: b"<html>", "it is a web page, not weights"),
        ("x.safetensors", lambda whole: b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        ("x.safetensors", lambda whole: whole[: len(whole) // 2], "not whole .*incomplete metadata.*; fetch it again"),
        ("x.safetensors", lambda whole: whole + b"more", "."),
        ("x.safetensors", lambda whole: whole.replace(b'"data_offsets":[0,', b'"data_offsets":[8,'), "."),
        ("x.ckpt", lambda whole: zipped(), "."),
        ("x.ckpt", lambda whole: zipped()[:-30], "not whole .*; fetch it again"),
        ("x.ckpt", lambda whole: pickle.dumps({"x": 1}), "."),
        ("x.ckpt", lambda whole: torch.save({"x": 1}, file := io.BytesIO()) or file.getvalue(), "no tensors by name"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused_with_what_it_is(made, tmp_path, name, content, message):
    safetensors.torch.save_file(safetensors.torch.load_file(made("sd1")[1]), tmp_path / "whole.safetensors")
    (tmp_path / name).write_bytes(content((tmp_path / "whole.safetensors").read_bytes()))
    with pytest.raises(InvalidParams, match=f"model 'x' cannot be used: .*{name} cannot be read: .*{message}"):
        opened("x", tmp_path / name)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("unet", "norm_num_groups", -1, "UNet: norm_num_groups is -1, not 1 to 4,096"),
        ("unet", "sample_size", 10**9, "UNet: sample_size is 1000000000, not 1 to 2,048"),
        ("unet", "sample_size", None, "UNet: sample_size is None"),
        ("unet", "attention_head_dim", [8, 0], r"UNet: attention_head_dim is \[8, 0\]"),
        ("vae", "scaling_factor", math.nan, "VAE: scaling_factor is nan"),
        ("text_encoder", "layer_norm_eps", None, "text encoder: layer_norm_eps is None"),
        ("scheduler", "beta_end", True, "scheduler: beta_end is True"),
        ("scheduler", "prediction_type", [], r"has the prediction_type \[\]"),
    ],
)
def test_numbers_with_which_nothing_can_be_drawn_are_refused(made, tmp_path, part, key, value, message):
    whole = made("sd1")[1]
    told = json.loads(safetensors.safe_open(whole, "pt").metadata()[CONFIG])
    told[part][key] = value
    path = rewritten(whole, tmp_path / "x.safetensors", metadata={CONFIG: json.dumps(told)})
    with pytest.raises(InvalidParams, match=f"model 'x' cannot be used: .*x.safetensors.*{message}"):
        opened("x", path)


@pytest.mark.parametrize(
    ("kind", "key", "part"),
    [
        ("sd1", "cond_stage_model.transformer.text_model.encoder.layers.999999999.x", "text encoder"),
        ("sd1", UNET + "middle_block.1.transformer_blocks.999999999.x", "UNet"),
        ("sdxl", "conditioner.embedders.1.model.transformer.resblocks.999999999.x", "second text encoder"),
        ("sd1", VAE + "encoder.down.0.block.999999999.x", "VAE"),
    ],
)  # fmt: skip
def test_a_name_alone_does_not_let_us_build_for_hours(made, tmp_path, kind, key, part):
    path = rewritten(made(kind)[1], tmp_path / "x.safetensors", adding(key, 1))
    with pytest.raises(InvalidParams, match=f"x.safetensors: its {part} .*1,000,000,000 layers in one place"):
        opened("x", path)


EMBEDDING = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1, 1).expand(10**10, 32), "its tensors are 1,280,.* bytes large, and the file has"),
        (torch.empty(1600, 32, device="meta"), "not plain numbers"),
    ],
    ids=["repeated", "meta"],
)
def test_a_pickled_file_takes_no_more_memory_than_it_is_large(made, tmp_path, tensor, message):
    path = rewritten(made("sd1")[1], tmp_path / "x.ckpt", lambda tensors: tensors.update({EMBEDDING: tensor}))
    with pytest.raises(InvalidParams, match=f"x.ckpt cannot be read: .*{message}"):
        opened("x", path)


def test_a_compressed_file_is_refused_before_it_is_unpacked(made, tmp_path):
    rewritten(made("sd1")[1], tmp_path / "whole.ckpt")
    with zipfile.ZipFile(tmp_path / "whole.ckpt") as whole:
        with zipfile.ZipFile(tmp_path / "x.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
            for name in whole.namelist():
                packed.writestr(name, whole.read(name))
    with pytest.raises(InvalidParams, match=r"x.ckpt cannot be read: it is compressed"):
        opened("x", tmp_path / "x.ckpt")


def test_a_key_that_is_no_text_is_not_in_the_way(made, tmp_path):
    path = rewritten(made("sd1")[1], tmp_path / "x.ckpt", lambda tensors: tensors.update({5: torch.ones(1)}))
    assert opened("x", path).architecture == "sd1"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("lora_unet_down_blocks_0.lora_down.weight", "is a LoRA; put it into models/lora"),
        ("decoder.conv_in.weight", "is a VAE; put it into models/vae"),
        ("control_model.zero_convs.0.0.weight", "is a ControlNet"),
        ("double_blocks.0.img_attn.qkv.weight", "is of another architecture"),
        ("some.thing", "holds no UNet of Stable Diffusion"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_where_it_belongs(tmp_path, key, message):
    safetensors.torch.save_file({key: torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(InvalidParams, match=f"x.safetensors {message}"):
        opened("x", tmp_path / "x.safetensors")


def test_no_file_is_written_over_another_and_none_stays_unfinished(made, tmp_path):
    source = opened("sd1", made("sd1")[0])

    def broken(part, name):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        save(tmp_path / "x.safetensors", source, torch.float16, {}, broken)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.safetensors").write_bytes(b"mine")
    with pytest.raises(Conflict, match="x.safetensors already"):
        save(tmp_path / "x.safetensors", source, torch.float16, {})
    assert (tmp_path / "x.safetensors").read_bytes() == b"mine"


def test_a_model_draws_the_same_from_either_layout(made, draw, make_context):
    ctx = make_context()
    folder = ctx.models.folder / "checkpoint"
    folder.mkdir(parents=True)
    shutil.copy(made("builtin")[1], folder / "file.safetensors")
    with safetensors.safe_open(made("builtin")[1], "pt") as file:
        told = {CONFIG: file.metadata()[CONFIG]}
    torch.save(told | {"state_dict": safetensors.torch.load_file(made("builtin")[1])}, folder / "pickled.ckpt")
    (drawn,) = draw(ctx, model="builtin", exact=True)
    (of_file,), (of_pickle,) = (draw(ctx, model=f"{name}", exact=True) for name in ("file.safetensors", "pickled.ckpt"))
    assert of_file.value.tobytes() == of_pickle.value.tobytes() == drawn.value.tobytes()
    assert of_file.facts["model_hash"] == hashlib.sha256((folder / "file.safetensors").read_bytes()).hexdigest()[:10]


@pytest.mark.parametrize("kind", tiny_models.UNETS)
def test_each_kind_of_model_draws_the_same_from_either_layout(made, draw, make_context, kind):
    ctx = make_context()
    models = ctx.models.folder / "checkpoint"
    shutil.copytree(made(kind)[0], models / "folder")
    shutil.copy(made(kind)[1], models / "file.safetensors")
    one, other = (draw(ctx, model=model, exact=True, steps=2)[0].value for model in ("folder", "file.safetensors"))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("model", ["v1-5", "v2-1", "sdxl-base", "sdxl-refiner"])
def test_loras_find_every_layer_by_its_name_in_the_published_files(model, tmp_path, without_memory):
    source = opened(model, hollow(tmp_path / f"{model}.safetensors", dict(published())[model]))
    names = names_in_unet(unet := source.empty("unet"))
    for ours, theirs in source.names("unet", unet).items():
        if ours.endswith(".weight"):
            assert names[theirs.removesuffix(".weight").replace(".", "_")] == ours.removesuffix(".weight")


def test_a_file_is_known_without_torch(made):
    script = "import sys; sys.path[:0] = sys.argv[3:]; import conftest; from pathlib import Path\n"
    script += "from sd.model_files import opened; print(opened(*sys.argv[1:2], Path(sys.argv[2])).architecture)\n"
    script += "assert not {'torch', 'transformers', 'diffusers'} & sys.modules.keys()"
    for path in made("sdxl"):
        paths = [str(Path(__file__).parent), *sys.path]
        done = subprocess.run([sys.executable, "-c", script, "x", path, *paths], capture_output=True, text=True)
        assert (done.stdout, done.returncode) == ("sdxl\n", 0), done.stderr


def test_a_file_that_cannot_be_used_costs_the_next_job_nothing(draw, make_context):
    ctx = make_context()
    folder = ctx.models.folder / "checkpoint"
    folder.mkdir(parents=True)
    (before,) = draw(ctx, exact=True)
    for name, content in (("x.safetensors", b"\xff" * 100), ("y.ckpt", pickle.dumps(print)), ("z.ckpt", zipped())):
        (folder / name).write_bytes(content)
        with pytest.raises(InvalidParams, match=f"model '{name}' cannot be used"):
            draw(ctx, model=name)
    assert draw(ctx, exact=True)[0].value.tobytes() == before.value.tobytes()


def test_what_training_has_left_in_a_published_file_is_not_in_the_way(made, tmp_path, monkeypatch):
    left = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    left.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": left.__name__})
    with monkeypatch.context() as training:
        for name in ("pytorch_lightning", "pytorch_lightning.callbacks", left.__name__):
            training.setitem(sys.modules, name, left)
        tensors = safetensors.torch.load_file(made("sd1")[1])
        torch.save({"state_dict": tensors, "callbacks": {left.ModelCheckpoint: {"best": 1.0}}}, tmp_path / "x.ckpt")
    assert opened("x", tmp_path / "x.ckpt").architecture == "sd1"


def renamed(tensors, *pairs):
    for name in list(tensors):
        new = functools.reduce(lambda text, pair: text.replace(*pair), pairs, name)
        tensors[new] = tensors.pop(name)


def test_names_of_old_files_and_folders_are_understood(made, tmp_path):
    file = made("sd1")[1]
    with safetensors.safe_open(file, "pt") as whole:
        config = {CONFIG: whole.metadata()[CONFIG]}
    short = ("transformer.text_model.", "transformer.")
    path = rewritten(file, tmp_path / "x.safetensors", lambda tensors: renamed(tensors, short), config)
    folder = shutil.copytree(made("sd1")[0], tmp_path / "folder")
    attention = [(f"attentions.0.{new}.", f"attentions.0.{old}.") for old, new in OLD_VAE.items()]
    vae = folder / "vae/diffusion_pytorch_model.safetensors"
    rewritten(vae, vae, lambda tensors: renamed(tensors, *attention))
    expected = weights_of(opened("x", file))
    for old in (weights_of(opened("x", path)), weights_of(opened("x", folder))):
        assert all(torch.equal(expected[key], old[key]) for key in expected)
