"""ControlNets: what they add is what diffusers' own pipelines add, whoever shares the device."""

import json
import re
from pathlib import Path

import diffusers
import numpy
import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps
import pytest
import tiny_models
import torch
from diffusers import ControlNetModel, EulerDiscreteScheduler, UNet2DConditionModel
from drawing import RED_CIRCLE, difference, pixels, same
from safetensors.torch import save_file
from sd import guides
from sd.autoencoder import Autoencoder

from core.plugin import InvalidParams, ModelNotFound

BUILTIN = tiny_models.BUILTIN
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2


def net(unet, seed=None):
    """A ControlNet as it is before training, which does nothing, or one of random weights."""
    torch.manual_seed(seed or 0)
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
    if seed:
        for name, parameter in made.named_parameters():
            if "controlnet_" in name:
                torch.nn.init.normal_(parameter, std=0.15)
    return made.eval()


@pytest.fixture(scope="module")
def unet():
    return UNet2DConditionModel.from_pretrained(BUILTIN / "unet", local_files_only=True)


@pytest.fixture
def nets(tmp_path, unet):
    """The folder of ControlNets, with one that does nothing and two that do something, and these by name."""
    folder = tmp_path / "models/controlnet"
    made = {"zero": net(unet), "one": net(unet, 1), "two": net(unet, 2)}
    for name, each in made.items():
        each.save_pretrained(folder / name)
    return folder, made


def disc(size=(128, 128)):
    picture = PIL.Image.new("RGB", size)
    PIL.ImageDraw.Draw(picture).ellipse((20, 30, 90, 100), "white")
    return picture


def unit(model="one", **options):
    return {"model": model} | options


def by_diffusers(nets, pictures, weights, kind="StableDiffusionControlNetPipeline", folder=BUILTIN, **options):
    """The latents of the same picture by diffusers' pipeline: the same prompt, noise, scale and sampler."""
    plain = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True).to(torch.float32)
    pipeline = getattr(diffusers, kind).from_pipe(plain, controlnet=nets)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config, timestep_spacing="linspace")
    pipeline.set_progress_bar_config(disable=True)
    given = {"num_inference_steps": 4, "guidance_scale": 7.0, "image": pictures} | options
    with torch.no_grad():
        return pipeline(
            RED_CIRCLE, output_type="latent", generator=torch.Generator().manual_seed(1),
            controlnet_conditioning_scale=weights, **given,
        ).images  # fmt: skip


def assert_same(ours, theirs):
    assert abs(ours - theirs).max() < 1e-4 * max(1, abs(theirs).max())


def test_a_controlnet_before_training_changes_no_byte(draw, nets):
    (plain,), (controlled,) = draw(exact=True), draw(exact=True, controlnets=[unit("zero")], control=[disc()])
    assert (pixels(plain) == pixels(controlled)).all()


def test_the_latents_are_those_of_diffusers(draw, nets, latents):
    draw(controlnets=[unit(weight=0.7)], control=[disc()])
    theirs = by_diffusers(nets[1]["one"], disc(), 0.7)
    assert_same(latents[0], theirs)
    draw()
    assert abs(latents[1] - theirs).max() > 0.1


def test_several_add_up_as_in_diffusers_each_with_its_picture(draw, nets, latents):
    pictures = [disc(), PIL.ImageOps.mirror(disc())]
    draw(controlnets=[unit("one", weight=0.7), unit("two", weight=1.2)], control=pictures)
    theirs = by_diffusers([nets[1]["one"], nets[1]["two"]], pictures, [0.7, 1.2])
    assert_same(latents[0], theirs)


def test_a_picture_redrawn_is_that_of_diffusers(draw, nets, latents, monkeypatch):
    begun, encode = [], Autoencoder.encode
    monkeypatch.setattr(
        Autoencoder, "encode", lambda self, pictures: begun.extend(got := encode(self, pictures)) or got
    )
    source = PIL.ImageOps.mirror(disc()).convert("RGB")
    draw(image=source, control=[disc()], controlnets=[unit(weight=0.7)], denoising_strength=0.5)  # three steps of four
    options = {"control_image": disc(), "strength": 0.75, "kind": "StableDiffusionControlNetImg2ImgPipeline"}
    assert_same(latents[0], by_diffusers(nets[1]["one"], begun[0], 0.7, **options))


def test_xl_is_controlled_as_in_diffusers(draw, tmp_path, latents):
    folder = tiny_models.write(tmp_path / "models/checkpoint/xl", "sdxl")
    made = net(UNet2DConditionModel.from_pretrained(folder / "unet"), 1)
    made.save_pretrained(tmp_path / "models/controlnet/one")
    draw(model="xl", controlnets=[unit(weight=0.7)], control=[disc((64, 64))], width=64, height=64)
    options = {"kind": "StableDiffusionXLControlNetPipeline", "folder": folder, "width": 64, "height": 64}
    assert_same(latents[0], by_diffusers(made, disc((64, 64)), 0.7, **options))


def test_it_acts_from_start_to_end(draw, nets, latents):
    draw(controlnets=[unit(start=0.3, end=0.5)], control=[disc()])  # of the four steps the third
    theirs = by_diffusers(nets[1]["one"], disc(), 1.0, control_guidance_start=0.5, control_guidance_end=0.75)
    assert_same(latents[0], theirs)
    (plain,), (late,) = draw(), draw(controlnets=[unit(start=0.9, end=0.95)], control=[disc()])
    assert (pixels(plain) == pixels(late)).all()


def test_the_picture_tells_its_controlnets_and_names_are_found_without_their_ending(draw, nets):
    save_file(nets[1]["one"].state_dict(), nets[0] / "canny_v1.safetensors")
    (named,) = draw(controlnets=[unit("canny_v1", weight=0.5)], control=[disc()])
    (one,) = draw(controlnets=[unit("one", weight=0.5)], control=[disc()])
    assert same(named, one)
    short = one.facts["controlnet_hashes"]["one"]
    assert re.search(rf'ControlNet 0: "Module: none, Model: one \[{short}\], Weight: 0.5, ', one.facts["infotext"])


def test_weight_0_costs_nothing(draw, nets, monkeypatch):
    monkeypatch.setattr(ControlNetModel, "forward", None)
    (plain,), (controlled,) = draw(), draw(controlnets=[unit(weight=0)], control=[disc()])
    assert (pixels(plain) == pixels(controlled)).all()


def test_the_soft_modes_take_back_the_outputs_and_one_of_them_the_negative_prompt(nets):
    from sd.controls import Control
    from sd.guides import Guide
    from sd.options import ControlUnit

    balanced, prompt, controlnet = (
        Guide(ControlUnit(model="one", control_mode=mode), None)
        for mode in ("balanced", "my prompt is more important", "controlnet is more important")
    )
    assert [guide.tells(negative=True) for guide in (balanced, prompt, controlnet)] == [True, True, False]
    assert all(guide.tells(negative=False) for guide in (balanced, prompt, controlnet))
    assert Control(None, None, 2.0, soft=True).scales(13) == [2 * 0.825 ** (12 - k) for k in range(13)]


def test_each_mode_draws_another_picture(draw, nets):
    modes = ("balanced", "my prompt is more important", "controlnet is more important")
    drawn = [draw(controlnets=[unit(control_mode=mode)], control=[disc()])[0] for mode in modes]
    assert min(difference(a, b) for a, b in zip(drawn, drawn[1:] + drawn[:1], strict=True)) > 0.5


def test_pictures_with_different_controls_share_calls_and_are_what_they_are_alone(plugin, make_context, nets, calls):
    from sd.options import TextToImage

    asked = [[], [unit("one")], [unit("two", weight=0.5)], [unit("one", end=0.5), unit("one", weight=0.3)]]

    def begin(controlnets, **more):
        params = TextToImage(prompt=RED_CIRCLE, seed=3, steps=4, sampler="Euler", controlnets=controlnets, **more)
        return plugin.txt2img(params, make_context(), [disc()] if controlnets else None)

    alone = [next(begin(controlnets, exact=True)) for controlnets in asked]
    calls.clear()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda controlnets: next(begin(controlnets)), asked))
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))
    assert max(map(len, calls)) > 1


def test_without_a_control_picture_the_one_that_is_redrawn_is_shown(draw, nets, monkeypatch):
    seen = []
    forward = ControlNetModel.forward
    monkeypatch.setattr(
        ControlNetModel,
        "forward",
        lambda self, x, t, context, hint, **more: seen.append(hint) or forward(self, x, t, context, hint, **more),
    )
    draw(image=disc((128, 96)), controlnets=[unit(preprocessor="invert")], width=128, height=64, steps=2)
    assert seen[0].shape[1:] == (3, 64, 128)
    assert seen[0][0, 0, 0, 0] == 1 and seen[0][0, 0, 32, 50] == 0
    mask = PIL.Image.new("L", (128, 128))
    mask.paste(255, (64, 0, 128, 128))
    seen.clear()
    draw(image=disc(), mask=mask, controlnets=[unit(preprocessor="inpaint")], mask_blur=0)
    assert (seen[0][0, :, :, 64:] == -1).all() and seen[0][0, :, :, :64].min() == 0


def test_for_a_part_of_a_picture_the_same_part_of_the_control_picture_is_shown(draw, nets, monkeypatch):
    shown = []
    make = guides.hint
    monkeypatch.setattr(guides, "hint", lambda picture, *rest: shown.append(picture) or make(picture, *rest))
    mask = PIL.Image.new("L", (256, 256))
    mask.paste(255, (128, 128, 256, 256))
    control = PIL.Image.new("RGB", (512, 512))
    control.paste((255, 0, 0), (256, 256, 512, 512))
    options = {"only_masked": True, "mask_blur": 0, "only_masked_padding": 0, "controlnets": [unit()], "steps": 1}
    draw(image=disc((256, 256)), mask=mask, control=[control], **options)
    assert shown[0].size == (128, 128) and numpy.asarray(shown[0])[4:, 4:, 0].min() == 255
    shown.clear()
    draw(job="sd_upscale", image=disc(), control=[control], scale=2, overlap=0, controlnets=[unit()], steps=1)
    assert [numpy.asarray(tile)[8:-8, 8:-8, 0].mean() for tile in shown] == [0, 0, 0, 255]


@pytest.mark.parametrize("job", ["outpaint", "sd_upscale", "interpolate", "inpaint"])
def test_other_jobs_are_guided_too(draw, nets, monkeypatch, job):
    seen, forward = [], ControlNetModel.forward
    monkeypatch.setattr(ControlNetModel, "forward", lambda *given, **more: seen.append(1) or forward(*given, **more))
    given = {
        "outpaint": {"image": disc(), "directions": ["left"], "pixels": 64, "mask_blur": 0},
        "sd_upscale": {"image": disc(), "scale": 1},
        "interpolate": {"frames": 2, "to_seed": 5, "control": [disc()]},
        "inpaint": {"image": disc(), "mask": PIL.Image.new("L", (128, 128), 255), "mask_blur": 0},
    }[job] | {"job": job, "steps": 1, "exact": True}
    zero, one = (draw(**given, controlnets=[unit(name, preprocessor="invert")]) for name in ("zero", "one"))
    assert seen and len(zero) == len(one)
    assert all(difference(*pair) > 0.1 for pair in zip(zero, one, strict=True))
    given.pop("control", None)
    assert (pixels(draw(**given)[0]) == pixels(zero[0])).all()


def test_for_outpainting_what_is_new_is_shown_as_missing(draw, nets, monkeypatch):
    shown, make = [], guides.hint
    monkeypatch.setattr(guides, "hint", lambda *given: shown.append(make(*given)) or shown[-1])
    options = {"directions": ["left"], "pixels": 64, "mask_blur": 0, "method": "poor man's", "steps": 1}
    draw(job="outpaint", image=disc(), controlnets=[unit(preprocessor="inpaint")], **options)
    assert shown[0].shape == (128, 192, 3)
    assert (shown[0][:, :60] == -1).all() and (shown[0][:, 72:] >= 0).all()


def test_hires_fix_shows_the_picture_in_each_size_once_for_all_pictures(draw, nets, monkeypatch):
    sizes = []
    make = guides.hint
    monkeypatch.setattr(guides, "hint", lambda picture, *rest: sizes.append(picture.size) or make(picture, *rest))
    draw(controlnets=[unit()], control=[disc((300, 200))], hires=True, hires_scale=1.5, batch_size=2, steps=2)
    assert sizes == [(128, 128), (192, 192)]


@pytest.mark.parametrize("kind", ["sd2-v", "inpainting", "sdxl"])
def test_other_kinds_of_models_are_controlled_too(draw, tmp_path, kind):
    folder = tiny_models.write(tmp_path / "models/checkpoint/tiny", kind)
    config = UNet2DConditionModel.load_config(folder / "unet") | {"in_channels": 4}
    for seed, name in enumerate(("zero", "one")):
        net(UNet2DConditionModel.from_config(config), seed).save_pretrained(tmp_path / f"models/controlnet/{name}")
    (plain,) = draw(model="tiny", exact=True)
    given = {"model": "tiny", "control": [disc((64, 64))], "exact": True}
    (zero,), (one,) = (draw(**given, controlnets=[unit(name)]) for name in ("zero", "one"))
    assert (pixels(plain) == pixels(zero)).all() and difference(plain, one) > 0.1


# From diffusers' names to those of the first ControlNets' files: block by block, what is in which layer.
PLACES = (
    (r"^down_blocks\.(\d+)\.resnets\.(\d+)", "input_blocks.{}.0"),
    (r"^down_blocks\.(\d+)\.attentions\.(\d+)", "input_blocks.{}.1"),
    (r"^down_blocks\.(\d+)\.downsamplers\.0\.conv", "input_blocks.{}.0.op"),
)
STARTS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14", "controlnet_mid_block": "middle_block_out.0",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
IN_RESNETS = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


def original(name, layers=1):
    """The name in a file in the original layout, of a network with so many layers in each block."""
    resnet = ".resnets." in name
    for pattern, theirs in PLACES:
        if found := re.match(pattern, name):
            place = [*map(int, found.groups()), layers][:2]
            name = theirs.format(place[0] * (layers + 1) + place[1] + 1) + name[found.end() :]
    name = re.sub(r"^controlnet_down_blocks\.(\d+)", r"zero_convs.\1.0", name)
    name = re.sub(r"^controlnet_cond_embedding\.blocks\.(\d+)", lambda k: f"input_hint_block.{2 * int(k[1]) + 2}", name)
    for ours, theirs in STARTS.items():
        name = theirs + name.removeprefix(ours) if name.startswith(ours + ".") else name
    parts = name.split(".")
    return ".".join([*parts[:-2], IN_RESNETS[parts[-2]], parts[-1]]) if resnet else name


@pytest.mark.parametrize("way", ["original", "with prefix and checkpoint", "diffusers", "pickled"])
@pytest.mark.parametrize("kind", ["sd1", "sd2-v", "sdxl"])
def test_single_files_are_the_same_networks(tmp_path, kind, way):
    from sd import controlnet_files

    folder = tiny_models.write(tmp_path / "tiny", kind)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    written = net(unet, 1)
    state = (
        written.state_dict()
        if way == "diffusers"
        else {original(name): tensor for name, tensor in written.state_dict().items()}
    )
    if way == "with prefix and checkpoint":
        state = {f"control_model.{name}": tensor for name, tensor in state.items()}
        state["model.diffusion_model.out.0.weight"] = torch.ones(1)
    path = tmp_path / ("net.pth" if way == "pickled" else "net.safetensors")
    torch.save({"state_dict": state}, path) if way == "pickled" else save_file(state, path)
    read = controlnet_files.load("net", path, unet)
    found = read.state_dict()
    assert found.keys() == written.state_dict().keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in written.state_dict().items())
    x, t, context, hint = (
        torch.randn(1, 4, 8, 8),
        torch.tensor([5]),
        torch.randn(1, 7, unet.config.cross_attention_dim),
        torch.rand(1, 3, 64, 64),
    )
    added = {"text_embeds": torch.randn(1, 48), "time_ids": torch.rand(1, 6)}
    one, other = (each(x, t, context, hint, added_cond_kwargs=added).mid_block_res_sample for each in (read, written))
    assert torch.equal(one, other) and one.abs().max() > 0


PUBLISHED = {  # what their configurations say that is not as in diffusers' own defaults
    "control_v11p_sd15_canny": {"cross_attention_dim": 768},
    "control_v11p_sd21_canny": {
        "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
    },
    "controlnet-canny-sdxl-1.0": {
        "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "controlnet-canny-sdxl-1.0-small": {
        "block_out_channels": (320, 640, 1280), "down_block_types": ("DownBlock2D",) * 3,
        "mid_block_type": "UNetMidBlock2D", "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_shapes_tell_the_structure_of_the_published_networks(name):
    from sd import controlnet_files

    with torch.device("meta"):
        made = ControlNetModel(**PUBLISHED[name])
        state = {original(key, layers=2): tensor for key, tensor in made.state_dict().items()}
        found = controlnet_files._converted(name, Path(name), state)
        again = ControlNetModel.from_config(controlnet_files.inferred(found, made.config))
    assert {key: each.shape for key, each in again.state_dict().items()} == {
        key: each.shape for key, each in found.items()
    }
    assert found.keys() == made.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lora_controlnet", "a Control-LoRA"),
        ("task_embedding", "a ControlNet Union"),
        ("adapter.body.0.in_conv.weight", "a T2I-Adapter"),
        ("image_proj.proj.weight", "an IP-Adapter"),
        ("model.diffusion_model.out.0.weight", "a checkpoint"),
        ("something", "not a ControlNet"),
    ],
)
def test_what_is_no_controlnet_is_refused_by_what_it_is(draw, nets, name, what):
    save_file({name: torch.ones(1)}, nets[0] / "other.safetensors")
    with pytest.raises(InvalidParams, match=rf"other.safetensors is .*{what}") as refused:
        draw(controlnets=[unit("other.safetensors")], control=[disc()])
    assert refused.value.wire()["field"] == "controlnets"


def test_damaged_wrong_and_missing_networks_are_refused_with_their_file(draw, nets, tmp_path):
    folder = nets[0]
    (folder / "cut.safetensors").write_bytes((folder / "one/diffusion_pytorch_model.safetensors").read_bytes()[:5000])
    incomplete = dict(nets[1]["one"].state_dict())
    del incomplete["conv_in.bias"]
    save_file(incomplete, folder / "incomplete.safetensors")
    other = tiny_models.write(tmp_path / "tiny", "sd1")
    net(UNet2DConditionModel.from_pretrained(other / "unet")).save_pretrained(folder / "stranger")
    nets[1]["one"].save_pretrained(folder / "union")
    save_file({"task_embedding": torch.ones(1)}, folder / "union/diffusion_pytorch_model.safetensors")
    (folder / "flux").mkdir()
    (folder / "flux/config.json").write_text('{"_class_name": "FluxControlNetModel"}')
    cases = {
        "union": "union is a ControlNet Union",
        "flux": "flux is a FluxControlNetModel",
        "cut.safetensors": "cut.safetensors cannot be used",
        "incomplete.safetensors": "incomplete.safetensors does not have the weights of a ControlNet.*conv_in.bias",
        "stranger": "stranger has the block_out_channels",
    }
    for name, message in cases.items():
        with pytest.raises(InvalidParams, match=message):
            draw(controlnets=[unit(name)], control=[disc()])
    with pytest.raises(ModelNotFound, match="no controlnet model 'on'"):
        draw(controlnets=[unit("on")], control=[disc()])


MIDDLE = {"controlnet_mid_block.weight": torch.ones(1)}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (MIDDLE | {"down_blocks.999999999.x": torch.ones(1)}, "it has 1,000,000,000 layers in one place"),
        (MIDDLE | {"conv_in.weight": torch.ones(())}, "does not have the weights of a ControlNet"),
    ],
)
def test_a_network_of_absurd_names_or_shapes_is_refused_at_once(draw, nets, tensors, message):
    save_file(tensors, nets[0] / "absurd.safetensors")
    with pytest.raises(InvalidParams, match=f"absurd.safetensors .*{message}"):
        draw(controlnets=[unit("absurd.safetensors")], control=[disc()])


def test_a_folder_that_wants_more_layers_than_any_model_has_is_refused(draw, nets):
    path = nets[0] / "one/config.json"
    config = json.loads(path.read_text()) | {"transformer_layers_per_block": 10**9}
    path.write_text(json.dumps(config))
    with pytest.raises(InvalidParams, match=r"one/config.json has transformer_layers_per_block of 1000000000"):
        draw(controlnets=[unit("one")], control=[disc()])


def test_pictures_and_networks_have_to_match(draw, nets):
    with pytest.raises(InvalidParams, match="no picture to show"):
        draw(controlnets=[unit()])
    with pytest.raises(InvalidParams, match="1 pictures are given for 0 ControlNets"):
        draw(control=[disc()])
    with pytest.raises(InvalidParams, match="3 ControlNets need as many"):
        draw(controlnets=[unit()] * 3, control=[disc()] * 2)


def test_a_changed_file_is_loaded_anew_and_others_stay(draw, nets, unet, monkeypatch):
    from sd import controlnet_files

    loads, load = [], controlnet_files.load
    monkeypatch.setattr(controlnet_files, "load", lambda name, *rest: loads.append(name) or load(name, *rest))
    (one,), (again,) = (draw(controlnets=[unit()], control=[disc()]) for _ in range(2))
    net(unet, 5).save_pretrained(nets[0] / "one")
    (other,) = draw(controlnets=[unit()], control=[disc()])
    assert loads == ["one", "one"] and same(one, again) and difference(one, other) > 0.5
    assert one.facts["controlnet_hashes"] != other.facts["controlnet_hashes"]
