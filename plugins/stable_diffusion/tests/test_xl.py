"""Stable Diffusion XL, its refiner, and 2 with v-prediction: what they are told, and that pictures are diffusers'."""

from concurrent.futures import ThreadPoolExecutor

import diffusers
import PIL.Image
import pytest
import torch
from drawing import same
from safetensors.torch import load_file, save_file
from sd import Count, Explain, lora
from sd.autoencoder import Autoencoder, to_picture
from sd.chunks import Wording
from sd.conditioning import emphasised, sizes
from sd.embeddings import XL
from sd.forms import params_of
from sd.infotext import parse
from sd.model_files import opened
from sd.placement import Placement
from sd.saving import save

from core.plugin import InvalidParams, ModelNotFound, Result

TEXT, NEGATIVE = "a red circle", "blue"
EULER = {"sampler": "Euler", "steps": 4, "seed": 5}  # 999 / (4 - 1) is a whole number, as diffusers has timesteps
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2


def pipeline(folder, kind=diffusers.DiffusionPipeline):
    found = kind.from_pretrained(folder, local_files_only=True)
    found.scheduler = diffusers.EulerDiscreteScheduler.from_config(found.scheduler.config, timestep_spacing="linspace")
    found.set_progress_bar_config(disable=True)
    return found


def theirs(folder, prompt=TEXT, **given):
    """The latents that the bare pipeline draws."""
    given = {"num_inference_steps": 4, "guidance_scale": 7.0, "generator": torch.Generator().manual_seed(5)} | given
    with torch.no_grad():
        return pipeline(folder)(prompt, output_type="latent", **given).images


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * max(1, float(theirs.abs().max())))


@pytest.mark.parametrize("negative", ["", NEGATIVE])
def test_xl_draws_what_the_bare_pipeline_draws(tiny, draw, latents, negative):
    folder = tiny("sdxl")
    draw(model="sdxl", prompt=TEXT, negative_prompt=negative, width=64, height=72, **EULER)
    expected = theirs(folder, negative_prompt=negative or None, width=64, height=72)
    assert_same(latents[0], expected)


def test_2_with_v_prediction_draws_what_the_bare_pipeline_draws(tiny, draw, latents):
    folder = tiny("sd2-v")
    draw(model="sd2-v", prompt=TEXT, negative_prompt=NEGATIVE, **EULER)
    assert_same(latents[0], theirs(folder, negative_prompt=NEGATIVE))


def test_a_refiner_redraws_what_the_bare_pipeline_does(tiny, draw, latents, plugin, make_context):
    folder, picture = tiny("refiner"), PIL.Image.new("RGB", (64, 64), "red")
    draw(image=picture, model="refiner", prompt=TEXT, negative_prompt=NEGATIVE, denoising_strength=0.5, **EULER)
    (begin,) = plugin._studio.checkpoints.get("refiner", make_context()).autoencoder.encode([picture])
    # Of 4 steps, A1111 runs the last int(0.5 * 4) + 1, and diffusers the last int(0.75 * 4).
    assert_same(latents[0], theirs(folder, negative_prompt=NEGATIVE, image=begin, strength=0.75))


def test_each_model_draws_in_its_own_size(tiny, draw):
    tiny("sdxl", sample_size=16)
    (result,) = draw(model="sdxl", prompt=TEXT, steps=1)
    assert result.value.size == (128, 128)


def test_sizes_are_those_of_the_picture_uncropped():
    assert sizes(6, 1024, 768, negative=False).tolist() == [[768, 1024, 0, 0, 768, 1024]]
    assert [sizes(5, 640, 512, negative).tolist() for negative in (False, True)] == [
        [[512, 640, 0, 0, 6.0]], [[512, 640, 0, 0, 2.5]],
    ]  # fmt: skip


@pytest.fixture
def models_called(monkeypatch):
    """The first letters of the names of the models that were called, in order."""
    from sd.shot import Run

    called, estimates = [], Run._estimates

    def noting(self, *given):
        called.append(self.model.name[0])
        return estimates(self, *given)

    monkeypatch.setattr(Run, "_estimates", noting)
    return called


@pytest.mark.parametrize(("at", "expected"), [(0, "rrrr"), (0.3, "srrr"), (0.5, "ssrr"), (0.67, "sssr"), (1, "ssss")])
def test_a_refiner_goes_on_when_its_share_of_the_levels_lies_behind(tiny, draw, models_called, at, expected):
    tiny("sdxl"), tiny("refiner")
    (result,) = draw(model="sdxl", refiner="refiner", refiner_switch_at=at, prompt=TEXT, **EULER)
    assert "".join(models_called) == expected
    title = f"Refiner: refiner [{result.facts.get('refiner_hash')}], Refiner switch at: {at:g}"
    assert (title in result.facts["infotext"]) == ("r" in expected)


def test_a_refiner_draws_as_the_bare_pipelines_do_one_after_the_other(tiny, draw, latents):
    base, refiner = tiny("sdxl"), tiny("refiner", seed=1)
    draw(model="sdxl", refiner="refiner", refiner_switch_at=0.5, prompt=TEXT, negative_prompt=NEGATIVE, **EULER)
    first = theirs(base, negative_prompt=NEGATIVE, denoising_end=0.5)
    second = theirs(refiner, negative_prompt=NEGATIVE, image=first, denoising_start=0.5)
    assert_same(latents[0], second)


def test_with_hires_fix_the_second_pass_is_refined(tiny, draw, models_called):
    tiny("sdxl"), tiny("refiner")
    given = {"refiner": "refiner", "refiner_switch_at": 0.5, "hires": True, "hires_scale": 1.0}
    draw(model="sdxl", prompt=TEXT, denoising_strength=1.0, hires_steps=2, **given, **EULER)
    assert "".join(models_called) == "ssss" + "sr"


def test_any_model_of_the_family_refines_and_of_another_does_not(tiny, draw, models_called):
    tiny("sd1"), tiny("sd2-v", "v"), tiny("sdxl")
    draw(model="sd1", refiner="v", refiner_switch_at=0.5, prompt=TEXT, **EULER)
    assert "".join(models_called) == "ssvv"
    with pytest.raises(InvalidParams, match=r"refiner: sdxl \(Stable Diffusion XL\) cannot go on .* sd1 \(Stable Diff"):
        draw(model="sd1", refiner="sdxl", prompt=TEXT, **EULER)
    with pytest.raises(ModelNotFound) as caught:
        draw(model="sd1", refiner="sdxll", prompt=TEXT, **EULER)
    assert caught.value.extra["field"] == "refiner"


def test_a_picture_tells_its_refiner_so_that_it_can_be_drawn_again(tiny, draw):
    tiny("sdxl"), tiny("refiner")
    (result,) = draw(model="sdxl", refiner="refiner", refiner_switch_at=0.4, prompt=TEXT, **EULER)
    job, params, notes = params_of(parse(result.facts["infotext"]))
    assert (params["refiner"], params["refiner_switch_at"], notes) == ("refiner", 0.4, [])
    (again,) = draw(job=job, **params)
    assert again.value.tobytes() == result.value.tobytes()


LAYERS = {  # what kohya and diffusers call a layer of each network
    "lora_unet_input_blocks_3_1_transformer_blocks_0_attn2_to_k": "unet.down_blocks.1.attentions.0.transformer_blocks."
    "0.attn2.to_k",
    "lora_unet_middle_block_1_proj_in": "unet.mid_block.attentions.0.proj_in",
    "lora_te1_text_model_encoder_layers_1_mlp_fc1": "text_encoder.text_model.encoder.layers.1.mlp.fc1",
    "lora_te2_text_model_encoder_layers_1_mlp_fc1": "text_encoder_2.text_model.encoder.layers.1.mlp.fc1",
}
SAVED = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
    "text_encoder_2": "text_encoder_2/model.safetensors",
}


@pytest.mark.parametrize("form", ["kohya", "diffusers"])
def test_a_lora_does_what_merged_weights_do_in_the_unet_and_both_text_encoders(tiny, draw, latents, tmp_path, form):
    tiny("sdxl")
    merged, tensors = tiny("sdxl", "merged"), {}
    for kohya, layer in LAYERS.items():
        part, _, name = layer.partition(".")
        weights = load_file(path := merged / SAVED[part])
        key = f"{name}.weight" if f"{name}.weight" in weights else f"{name}.weight".removeprefix("text_model.")
        up, down = torch.randn(len(weights[key]), 2), torch.randn(2, weights[key].shape[1])
        save_file(weights | {key: weights[key] + 0.5 * up @ down}, path, {"format": "pt"})
        called = {f"{kohya}.lora_up": up, f"{kohya}.lora_down": down}
        called = called if form == "kohya" else {f"{layer}.lora_B": up, f"{layer}.lora_A": down}
        tensors |= {f"{name}.weight": tensor for name, tensor in called.items()}
    (tmp_path / "models/lora").mkdir()
    save_file(tensors, tmp_path / "models/lora/x.safetensors")
    for model, prompt in (("sdxl", f"{TEXT}<lora:x:0.5>"), ("merged", TEXT), ("sdxl", TEXT)):
        draw(model=model, prompt=prompt, **EULER)
    assert_same(latents[0], latents[1])
    assert (latents[0] - latents[2]).abs().max() > 0.1


@pytest.mark.parametrize(("width", "made_for"), [(768, "Stable Diffusion 1"), (1280, "the refiner of Stable Diff")])
def test_a_lora_for_another_architecture_says_which(tmp_path, width, made_for):
    with torch.device("meta"):
        xl = diffusers.UNet2DConditionModel(cross_attention_dim=2048)
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_up.weight": torch.ones(640, 1), f"{layer}.lora_down.weight": torch.ones(1, width)}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(InvalidParams, match=f"x.safetensors .*; it is for {made_for}.*, and the model is .* XL"):
        lora.load(tmp_path / "x.safetensors", xl, [], [])


def test_a_hypernetwork_does_not_go_with_xl(tiny, draw, tmp_path):
    tiny("sdxl")
    (tmp_path / "models/hypernetwork").mkdir()
    torch.save({96: []}, tmp_path / "models/hypernetwork/h.pt")
    with pytest.raises(InvalidParams, match="h.pt cannot be used: hypernetworks are for Stable Diffusion 1 and 2, and"):
        draw(model="sdxl", prompt="a<hypernet:h>")


def test_an_embedding_of_the_words_own_vectors_is_these_words(tiny, draw, latents, plugin, make_context, tmp_path):
    tiny("sdxl"), tiny("refiner")
    clips = plugin._studio.checkpoints.get("sdxl", make_context()).clips
    (tokenizer, _) = plugin._studio.checkpoints.get("sdxl", make_context()).tokenizers
    ids = tokenizer("red circle", add_special_tokens=False).input_ids
    vectors = {name: clip.get_input_embeddings().weight[ids].clone() for name, clip in zip(XL, clips, strict=True)}
    (tmp_path / "models/embedding").mkdir()
    save_file(vectors, tmp_path / "models/embedding/myword.safetensors")
    for prompt in ("a myword", "a red circle"):
        (result,) = draw(model="sdxl", refiner="refiner", prompt=prompt, **EULER)
    assert_same(latents[0], latents[1])
    assert [*draw(model="sdxl", prompt="a myword", steps=1)[0].facts["ti_hashes"]] == ["myword"]


@pytest.fixture
def encode(tiny, plugin, make_context):
    """encode(text) gives the Condition that SDXL reads of a text, and encode.clips are its networks."""
    tiny("sdxl")
    checkpoint = plugin._studio.checkpoints.get("sdxl", make_context())

    def encode(text, **wording):
        with torch.inference_mode():
            return checkpoint.text.encode([checkpoint.text.chunks(text, Wording(**wording), {})])[0]

    encode.checkpoint = checkpoint
    return encode


def test_both_encoders_are_read_at_the_last_layer_but_one_each_with_its_own_padding(encode):
    clips, tokenizers = encode.checkpoint.clips, encode.checkpoint.tokenizers
    ids = [each(TEXT, padding="max_length", return_tensors="pt").input_ids for each in tokenizers]
    assert (ids[0][0, -1], ids[1][0, -1]) == (tokenizers[0].eos_token_id, 0)
    with torch.inference_mode():
        outputs = [clip(each, output_hidden_states=True) for clip, each in zip(clips, ids, strict=True)]
    expected = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    for clip_skip in (1, 2, 12):  # as in A1111, it is for other models
        condition = encode(TEXT, clip_skip=clip_skip)
        torch.testing.assert_close(condition.context, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(condition.pooled, outputs[1].text_embeds, rtol=0, atol=1e-5)


def test_what_is_pooled_is_the_first_chunk_without_emphasis(encode):
    long = encode(f"({TEXT}:1.5) BREAK blue")
    assert long.context.shape == (1, 154, 96)
    torch.testing.assert_close(long.pooled, encode(TEXT).pooled)
    assert not torch.allclose(long.pooled, encode("blue").pooled)


@pytest.mark.parametrize("emphasis", ["original", "comfyui"])
def test_emphasis_acts_in_each_encoders_part_for_itself(encode, emphasis):
    (plain, empty), weights = (encode(text).context[0] for text in (TEXT, "")), torch.ones(77)
    weights[2] = 1.5
    parts = zip(plain.split((32, 64), 1), empty.split((32, 64), 1), strict=True)
    expected = torch.cat([emphasised(part, weights, emphasis, nothing) for part, nothing in parts], 1)
    torch.testing.assert_close(encode("a (red:1.5) circle", emphasis=emphasis).context[0], expected, rtol=0, atol=1e-4)


def test_conditions_that_are_mixed_mix_what_is_pooled(encode):
    one, other = encode(TEXT), encode(NEGATIVE)
    torch.testing.assert_close(one.mixed(other, 0.25).pooled, 0.75 * one.pooled + 0.25 * other.pooled)


JOBS = {
    "txt2img": {"width": 72, "hires": True, "hires_scale": 1.25, "refiner_switch_at": 0.5},
    "img2img": {"tiling": True},
    "inpaint": {"only_masked": True, "fill": "latent noise"},
    "outpaint": {"pixels": 8, "directions": ["left"]},
    "sd_upscale": {"scale": 1.5, "overlap": 16},
    "img2img_alternative": {"decode_steps": 2, "original_prompt": "red"},
    "interpolate": {"to_prompts": "a blue star AND red", "frames": 3},
}


@pytest.mark.parametrize("kind", ["sd2-v", "sdxl+refiner"])
@pytest.mark.parametrize("job", JOBS)
def test_every_job_draws_with_every_kind_of_model(tiny, draw, job, kind):
    model, _, refiner = kind.partition("+")
    for each in {model, refiner} - {""}:
        tiny(each)
    given = JOBS[job] | {"model": model, "refiner": refiner, "steps": 2, "seed": 1, "exact": True}
    given |= {"prompt": "[a:red:0.5] (circle:1.2) AND [blue|green] BREAK star :0.5"}
    if job not in ("txt2img", "interpolate"):
        given["image"] = PIL.Image.new("RGB", (64, 64), "red")
    if job == "inpaint":
        given["mask"] = PIL.Image.new("L", (64, 64), 255)
    first, again = (draw(job=job, **given)[-1] for _ in range(2))
    assert first.value.tobytes() == again.value.tobytes()
    assert ("refiner_hash" in first.facts) == bool(refiner)


def test_pictures_of_models_that_share_no_calls_are_those_drawn_alone(tiny, draw):
    tiny("sdxl"), tiny("refiner")
    ways = [{"model": "sdxl"}, {"model": "sdxl", "refiner": "refiner", "refiner_switch_at": 0.5}, {"model": "refiner"}]
    ways = [way | EULER | {"prompt": TEXT, "batch_size": 2} for way in ways]
    alone = [draw(**way) for way in ways]
    with ThreadPoolExecutor(len(ways)) as threads:
        together = [job.result() for job in [threads.submit(draw, **way) for way in ways]]
    for one, other in zip(sum(alone, []), sum(together, []), strict=True):
        assert same(one, other)


def test_a_single_file_draws_what_its_folder_does(tiny, draw, latents):
    folder = tiny("sdxl")
    save(folder.parent / "one.safetensors", opened("sdxl", folder), torch.float32, {})
    for model in ("sdxl", "one.safetensors"):
        draw(model=model, prompt=TEXT, **EULER)
    assert torch.equal(*latents)


def test_the_light_jobs_read_prompts_as_xl_does(tiny, plugin, make_context, tmp_path):
    folder, ctx = tiny("sdxl"), make_context()
    save(folder.parent / "one.safetensors", opened("sdxl", folder), torch.float32, {})
    (tmp_path / "models/embedding").mkdir()
    vectors = {"clip_g": torch.ones(7, 64), "clip_l": torch.ones(7, 32)}
    save_file(vectors, tmp_path / "models/embedding/myword.safetensors")
    for model, tokens in (("sdxl", 9), ("one.safetensors", 9), ("builtin", 5)):
        prompt = "myword red star"
        assert plugin.tokens(Count(model=model, prompt=prompt), ctx)["tokens"] == tokens
        (part,) = plugin.explain(Explain(model=model, prompt=prompt), ctx)["parts"]
        assert part["schedule"][0]["tokens"] == tokens


@pytest.mark.parametrize("config", [{"shift_factor": 0.3}, {"latents_mean": [0.1] * 4, "latents_std": [2.0, 3, 4, 5]}])
def test_latents_are_shifted_and_scaled_as_the_vae_says(tiny, config):
    vae = diffusers.AutoencoderKL.from_pretrained(tiny("sdxl") / "vae")
    vae.register_to_config(**config)
    shift = config.get("shift_factor", 0.1)
    scale = 0.13025 / torch.tensor(config.get("latents_std", [1.0] * 4))[None, :, None, None]
    picture = PIL.Image.new("RGB", (64, 64), "red")
    with torch.inference_mode():
        coder = Autoencoder(vae, Placement("cpu"))
        (latents,) = coder.encode([picture])
        mean = vae.encode(torch.tensor([1.0, -1, -1])[None, :, None, None].expand(1, 3, 64, 64)).latent_dist.mean
        (decoded,) = coder.decode([latents])
        assert same(Result(decoded), Result(to_picture(vae.decode(mean).sample[0])))
    torch.testing.assert_close(latents, (mean - shift) * scale)


def test_previews_of_xl_are_fitted_to_its_own_vae(tiny, draw, make_context, no_throttle):
    tiny("sdxl")
    ctx = make_context()
    draw(ctx, model="sdxl", prompt=TEXT, **EULER)
    previews = [body["image"] for event, body in ctx.told if event == "preview"]
    assert [picture.size for picture in previews] == [(64, 64)] * 4
