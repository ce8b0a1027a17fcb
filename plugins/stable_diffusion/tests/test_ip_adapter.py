"""IP-Adapters: reference pictures count as they do in diffusers' own pipelines, whoever shares the device."""

from concurrent.futures import ThreadPoolExecutor

import diffusers
import PIL.Image
import pytest
import tiny_models
import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from drawing import RED_CIRCLE, difference, pixels, same
from safetensors.torch import save_file
from sd.options import TextToImage
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from core.plugin import InvalidParams, ModelNotFound

BUILTIN = tiny_models.BUILTIN
SEEN, PROJECTED, TOKENS = 32, 24, 4  # widths of what the reader of pictures says, and how many tokens become of it
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2


def plain(width):
    return {
        "proj.weight": torch.randn(TOKENS * width, PROJECTED), "proj.bias": torch.randn(TOKENS * width),
        "norm.weight": torch.ones(width), "norm.bias": torch.zeros(width),
    }  # fmt: skip


def plus(width):
    """A resampler of four layers with one head of 64."""
    made = {
        "latents": torch.randn(1, TOKENS, 64), "proj_in.weight": torch.randn(64, SEEN), "proj_in.bias": torch.randn(64),
        "proj_out.weight": torch.randn(width, 64) / 8, "proj_out.bias": torch.randn(width),
        "norm_out.weight": torch.ones(width), "norm_out.bias": torch.zeros(width),
    }  # fmt: skip
    for layer in range(4):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            made |= {f"layers.{layer}.{norm}.weight": torch.ones(64), f"layers.{layer}.{norm}.bias": torch.zeros(64)}
        for name, shape in (("0.to_q", (64, 64)), ("0.to_kv", (128, 64)), ("0.to_out", (64, 64)), ("1.1", (256, 64)),
                            ("1.3", (64, 256))):  # fmt: skip
            made[f"layers.{layer}.{name}.weight"] = torch.randn(shape) / shape[1] ** 0.5
    return made


def adapter(unet, projection=plain, seed=1):
    """The two parts of an IP-Adapter with random weights, by their published names."""
    torch.manual_seed(seed)
    width = unet.config.cross_attention_dim
    attentions = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    state = {}
    for k, name in enumerate(attentions):
        size = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for key in ("to_k_ip", "to_v_ip"):
            state[f"{2 * k + 1}.{key}.weight"] = torch.randn(size, width) / width**0.5
    return {"image_proj": projection(width), "ip_adapter": state}


def flat(parts):
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def unet():
    return UNet2DConditionModel.from_pretrained(BUILTIN / "unet", local_files_only=True)


@pytest.fixture
def models(tmp_path):
    """The folder of models, with a reader of pictures."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=SEEN, projection_dim=PROJECTED, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        image_size=28, patch_size=14,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "models/clip_vision/reader")
    (tmp_path / "models/ip_adapter").mkdir()
    return tmp_path / "models"


def picture(turned=0, size=(40, 30)):
    return PIL.Image.linear_gradient("L").rotate(turned).resize(size).convert("RGB")


def by_diffusers(models, parts, pictures, weight, folder=BUILTIN, **options):
    """The latents of the same picture by diffusers' pipeline."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True).to(torch.float32)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config, timestep_spacing="linspace")
    pipeline.set_progress_bar_config(disable=True)
    reader = CLIPVisionModelWithProjection.from_pretrained(models / "clip_vision/reader").eval()
    side = reader.config.image_size
    pipeline.register_modules(image_encoder=reader, feature_extractor=CLIPImageProcessor(size=side, crop_size=side))
    pipeline.load_ip_adapter(parts, subfolder="", weight_name="", image_encoder_folder=None, low_cpu_mem_usage=False)
    pipeline.set_ip_adapter_scale(weight)
    with torch.no_grad():
        return pipeline(
            RED_CIRCLE, ip_adapter_image=[pictures], num_inference_steps=4, guidance_scale=7.0, output_type="latent",
            generator=torch.Generator().manual_seed(1), **options,
        ).images  # fmt: skip


@pytest.mark.parametrize("projection", [plain, plus])
@pytest.mark.parametrize("count", [1, 2])
def test_the_latents_are_those_of_diffusers(draw, latents, unet, models, projection, count):
    parts = adapter(unet, projection)
    save_file(flat(parts), models / "ip_adapter/a.safetensors")
    pictures = [picture(), picture(90, (30, 50))][:count]
    draw(reference=pictures, ip_adapter="a.safetensors", ip_adapter_weight=0.6)
    theirs = by_diffusers(models, parts, pictures, 0.6)
    assert abs(latents[0] - theirs).max() < 1e-4 * abs(theirs).max()
    draw()
    assert abs(latents[1] - theirs).max() > 0.1


def test_xl_sees_pictures_as_in_diffusers(draw, latents, models):
    folder = tiny_models.write(models / "checkpoint/xl", "sdxl")
    parts = adapter(UNet2DConditionModel.from_pretrained(folder / "unet"), plus)
    torch.save(parts, models / "ip_adapter/a.bin")  # in its parts, as old files are
    draw(model="xl", reference=[picture()], ip_adapter="a.bin", width=64, height=64)
    theirs = by_diffusers(models, parts, [picture()], 1.0, folder, width=64, height=64)
    assert abs(latents[0] - theirs).max() < 1e-4 * max(1, abs(theirs).max())


def test_what_is_added_has_the_precision_of_the_model(models, unet):
    from sd.ip_adapter import attached

    save_file(flat(adapter(unet)), models / "ip_adapter/a.safetensors")
    narrow = UNet2DConditionModel.from_config(unet.config).to(torch.bfloat16)
    adapted = attached("a.safetensors", models / "ip_adapter/a.safetensors", narrow)
    assert {tensor.dtype for tensor in adapted.parameters()} == {torch.bfloat16}


def test_weight_0_and_shares_of_the_run_without_it_change_no_byte(draw, unet, models):
    save_file(flat(adapter(unet)), models / "ip_adapter/a.safetensors")
    given = {"reference": [picture()], "ip_adapter": "a.safetensors", "exact": True}
    (bare,), (unweighted,), (late,), (all_along,), (first,) = (
        draw(**options)
        for options in (
            {"exact": True}, given | {"ip_adapter_weight": 0}, given | {"ip_adapter_start": 0.9}, given,
            given | {"ip_adapter_end": 0.3},
        )
    )  # fmt: skip
    assert (pixels(bare) == pixels(unweighted)).all() and (pixels(bare) == pixels(late)).all()
    assert difference(bare, first) > 0.1 and difference(all_along, first) > 0.1


def test_the_model_is_left_as_it_was(draw, plugin, unet, models):
    save_file(flat(adapter(unet)), models / "ip_adapter/a.safetensors")
    (before,), _, (after,) = draw(exact=True), draw(reference=[picture()], ip_adapter="a.safetensors"), draw(exact=True)
    assert (pixels(before) == pixels(after)).all()


def test_pictures_with_different_references_share_calls_and_are_what_they_are_alone(
    plugin, make_context, unet, models, calls
):
    save_file(flat(adapter(unet)), models / "ip_adapter/a.safetensors")
    asked = [picture(), picture(90, (30, 50)), picture(180), None]

    def begin(reference, **more):
        name = "a.safetensors" if reference else ""
        params = TextToImage(prompt=RED_CIRCLE, seed=3, steps=4, sampler="Euler", ip_adapter=name, **more)
        return next(plugin.txt2img(params, make_context(), reference=[reference] if reference else None))

    alone = [begin(reference, exact=True) for reference in asked]
    calls.clear()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(begin, asked))
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))
    assert max(map(len, calls)) > 1 and difference(alone[0], alone[1]) > 0.5


def test_the_picture_tells_its_adapter(draw, unet, models):
    save_file(flat(adapter(unet)), models / "ip_adapter/a.safetensors")
    (result,) = draw(reference=[picture()], ip_adapter="a.safetensors", ip_adapter_weight=0.5)
    assert "IP-Adapter: a.safetensors, IP-Adapter weight: 0.5" in result.facts["infotext"]
    assert len(result.facts["ip_adapter_hashes"]["a.safetensors"]) == 10


def test_what_cannot_be_used_is_refused_with_its_file(draw, unet, models):
    folder = models / "ip_adapter"
    parts = adapter(unet)
    faces = parts | {"image_proj": {"norm.weight": torch.ones(96), "proj.0.weight": torch.ones(8, 8)}}
    loras = parts | {"ip_adapter": parts["ip_adapter"] | {"0.to_k_lora.down.weight": torch.ones(1)}}
    short = parts | {"ip_adapter": {"1.to_k_ip.weight": torch.ones(96, 96), "1.to_v_ip.weight": torch.ones(96, 96)}}
    other = parts | {"ip_adapter": {name: torch.ones(64, 768) for name in parts["ip_adapter"]}}
    flat_ones = parts | {"ip_adapter": {name: torch.ones(1) for name in parts["ip_adapter"]}}
    wrong = {"faces": faces, "loras": loras, "short": short, "other": other, "flat": flat_ones}
    for name, made in wrong.items():
        save_file(flat(made), folder / f"{name}.safetensors")
    save_file({"x": torch.ones(1)}, folder / "none.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "short.safetensors").read_bytes()[:100])
    for name, says in {
        "flat": "flat.safetensors is for contexts of width 0",
        "faces": "faces.safetensors is a FaceID adapter", "loras": "loras.safetensors is a FaceID adapter",
        "short": "short.safetensors does not fit this model", "none": "none.safetensors is no IP-Adapter",
        "other": "other.safetensors is for contexts of width 768, this model has 96", "cut": "cut.safetensors",
    }.items():  # fmt: skip
        with pytest.raises(InvalidParams, match=says):
            draw(reference=[picture()], ip_adapter=f"{name}.safetensors")


def test_without_a_reader_of_pictures_it_is_said_what_to_put_where(draw, unet, models):
    save_file(flat(adapter(unet)), models / "ip_adapter/a.safetensors")
    (models / "clip_vision/reader").rename(models / "elsewhere")
    with pytest.raises(
        ModelNotFound, match=r"needs a network that reads pictures, with the projection_dim 24"
    ) as error:
        draw(reference=[picture()], ip_adapter="a.safetensors")
    assert "image_encoder" in error.value.wire()["hint"] and "clip_vision" in str(error.value)


def test_picture_and_adapter_belong_together(draw, models):
    with pytest.raises(InvalidParams, match="needs a picture, and a picture an IP-Adapter"):
        draw(reference=[picture()])
    with pytest.raises(InvalidParams, match="needs a picture, and a picture an IP-Adapter"):
        draw(ip_adapter="a.safetensors")
    with pytest.raises(ModelNotFound, match="no ip_adapter model 'b'"):
        draw(ip_adapter="b", reference=[picture()])
