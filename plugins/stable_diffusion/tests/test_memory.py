"""Pictures drawn with little memory, and models that come and go."""

import shutil

import psutil
import pytest
import safetensors.torch
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from drawing import DEFAULTS, psnr, same
from sd import StableDiffusion, TextToImage, Unload, pieces
from sd.cache import bytes_of
from sd.options import ImageToImage
from sd.pieces import decoded, encoded
from sd.placement import Placement
from sd.settings import Settings

from core.plugin import InvalidParams


@pytest.fixture
def plugins(plugin):
    """plugins(setting=...) gives a plugin of its own, on a CPU that moves weights as if it were a graphics card."""
    made = []

    def make(**settings):
        own = StableDiffusion(plugin.folder)
        own.settings, own.models = Settings(**settings), plugin.models
        own.load("cpu")
        own._studio.placement.moves = True
        made.append(own)
        return own

    yield make
    for each in made:
        each.unload()


def drawn(plugin, ctx, **given):
    return list(plugin.txt2img(TextToImage(**DEFAULTS | given), ctx))


@pytest.mark.parametrize("mode", ["medium", "low"])
def test_a_picture_is_the_same_with_less_memory(draw, plugins, make_context, mode):
    (picture,) = drawn(plugins(memory=mode), make_context())
    assert same(picture, draw()[0])
    assert picture.facts["memory"] == mode


def test_a_variant_is_the_same_in_every_mode(plugins, make_context):
    pictures = [drawn(plugins(memory=mode), make_context(), tiling=True)[0] for mode in ("full", "medium", "low")]
    assert same(pictures[0], pictures[1]) and same(pictures[0], pictures[2])


def test_a_job_for_which_memory_did_not_suffice_is_drawn_with_less_and_says_so(plugins, make_context):
    plugin, ctx = plugins(memory="medium"), make_context()
    ctx.low_memory = True
    (picture,) = drawn(plugin, ctx)
    assert picture.facts["memory"] == "low"
    assert ("log", {"text": "memory: drawn in low mode, for the device has no room for more."}) in ctx.told


def test_when_memory_runs_out_while_a_picture_is_drawn_it_goes_on_with_less(draw, plugins, make_context, monkeypatch):
    from sd.denoiser import Denoiser

    plugin, ctx, denoise, calls = plugins(memory="full"), make_context(), Denoiser.denoise, []

    def exhausted(self, asks):
        calls.append(plugin._studio.placement.mode.word)
        if len(calls) in (2, 4):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return denoise(self, asks)

    monkeypatch.setattr(Denoiser, "denoise", exhausted)
    (picture,) = drawn(plugin, ctx)
    assert calls == ["full", "full", "medium", "medium", "low", "low"]
    assert picture.facts["memory"] == "low"
    assert same(picture, draw()[0])
    told = [body["text"] for event, body in ctx.told if event == "log"]
    assert told[0] == "memory: it did not suffice in full mode; going on in medium mode."


@pytest.fixture
def overflowing(plugin, tmp_path):
    """A copy of the built-in model as models/checkpoint/large, whose VAE has too large numbers for float16."""
    model = shutil.copytree(plugin.folder / "builtin", tmp_path / "models/checkpoint/large")
    path = model / "vae/diffusion_pytorch_model.safetensors"
    weights = safetensors.torch.load_file(path)
    for name in ("encoder.conv_in.weight", "decoder.conv_in.weight"):
        wide = weights[name].float()
        weights[name] = wide * (60_000 / wide.abs().max())  # of which the norms that follow make 1 again
    safetensors.torch.save_file(weights, path)


@pytest.mark.slow
def test_what_is_not_a_number_in_half_precision_is_computed_again_in_float32(overflowing, plugins, make_context):
    half, ctx = plugins(vae_dtype="float16"), make_context()
    small = {"model": "large", "width": 64, "height": 64}
    (picture,) = drawn(half, ctx, **small)
    assert picture.facts["vae_retried"] is True
    assert ("log", {"text": "the VAE gave not-a-number in float16; again in float32."}) in ctx.told
    (whole,) = drawn(plugins(), make_context(), **small)
    assert "vae_retried" not in whole.facts
    assert psnr(picture, whole) > 40
    params = ImageToImage(**DEFAULTS | small | {"steps": 1})
    (redrawn,) = half.img2img(picture.value, params, again := make_context())
    assert redrawn.facts["vae_retried"] is True
    assert sum(event == "log" for event, _ in again.told) == 1  # it is not tried a second time


def test_xformers_is_used_if_asked_for_and_there(plugins, make_context):
    with pytest.raises(InvalidParams, match='attention = "xformers" is set .* but xformers is not installed'):
        drawn(plugins(attention="xformers"), make_context())


@pytest.fixture
def backend(monkeypatch):
    """backend(name or function) is what compiles: torch's own takes minutes for what is tested here."""

    def backend(chosen):
        forward = torch.compile(UNet2DConditionModel.forward, backend=chosen)
        monkeypatch.setattr("sd.compiling.forward", lambda: forward)

    return backend


@pytest.mark.slow
def test_a_compiled_model_draws_the_same(draw, plugins, make_context, backend):
    backend("aot_eager")
    (compiled,) = drawn(plugins(compile=True), ctx := make_context())
    assert compiled.facts["determinism"]["compiled"] is True
    assert [body for event, body in ctx.told if event == "log"] == []
    assert same(compiled, draw()[0])


def test_a_model_that_cannot_be_compiled_draws_as_it_is_and_says_why(draw, plugins, make_context, backend):
    def without_compiler(graph, inputs):
        raise torch._inductor.exc.InductorError(RuntimeError("there is no compiler"), None)

    backend(without_compiler)
    (picture,) = drawn(plugins(compile=True), ctx := make_context())
    told = [body["text"] for event, body in ctx.told if event == "log"]
    assert len(told) == 1 and told[0].startswith("compile: the UNet cannot be compiled here, so it runs as it is: ")
    assert "there is no compiler" in told[0] and "TORCH" not in told[0]
    assert same(picture, draw()[0])


def test_large_pictures_go_through_the_vae_in_pieces(draw, monkeypatch):
    (whole,) = draw(width=384, height=320, steps=1)
    monkeypatch.setattr(pieces, "PIECE", 32)
    monkeypatch.setattr(pieces, "WHOLE", 32 * 32)
    (cut,) = draw(width=384, height=320, steps=1)
    assert (cut.facts["vae_tiled"], "vae_tiled" in whole.facts) == (True, False)
    assert psnr(cut, whole) > 33
    (redrawn,) = draw(image=whole.value, steps=1, denoising_strength=0.1)
    assert redrawn.facts["vae_tiled"] is True


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (72, 100), (40, 200), (16, 300), (8, 70)])
def test_pieces_are_put_together_where_they_were(size, wrap):
    """With a decoder and an encoder that only scale, in and out by 8."""
    height, width = size
    z = torch.rand(1, 3, height, width) * 255
    seen = []

    def decode(piece):
        seen.append(piece.shape)
        return to_pil(piece.repeat_interleave(8, 2).repeat_interleave(8, 3))

    picture = decoded(decode, z, 8, wrap)
    assert picture.size == (8 * width, 8 * height)
    assert all(max(shape[2:]) <= 64 for shape in seen)
    rgb = torch.from_numpy(numpy_of(picture)).float()
    again = encoded(lambda piece: piece.permute(2, 0, 1)[None, :, ::8, ::8], rgb, 8, wrap)
    assert again.shape == z.shape
    assert (again - z).abs().max() <= 2


def to_pil(x):
    import PIL.Image

    return PIL.Image.fromarray(x[0].round().byte().permute(1, 2, 0).numpy())


def numpy_of(picture):
    import numpy

    return numpy.array(picture)


def test_ten_model_switches_in_a_row_keep_memory_flat(plugins, make_context, plugin, tmp_path):
    names = ["first", "second", "third"]
    for name in names:
        shutil.copytree(plugin.folder / "builtin", tmp_path / "models/checkpoint" / name)
    ctx, process = make_context(), psutil.Process()
    size = bytes_of([plugin._studio.checkpoints.get("builtin", ctx)])
    own, used = plugins(cache_bytes=size + size // 2), []
    for k in range(11):
        drawn(own, ctx, model=names[k % 3], steps=1)
        used.append(process.memory_info().rss)
    assert max(used[4:]) < 1.1 * min(used[3:5]), used
    assert len(own.unload_models(Unload(), ctx)) == 0


GB = 1_000_000_000
CUDA = GB // 2  # what CUDA takes for itself, at most


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "side", "card", "mode"),
    [("sd1", 512, 4, "medium"), ("sd1", 512, 5, "full"), ("xl", 1024, 8, "medium"), ("xl", 1024, 12, "full")],
)
def test_models_of_full_size_fit_into_the_mode_that_is_chosen_for_a_card(kind, side, card, mode):
    from benchmarks.accounting import measured

    free = card * GB - CUDA
    found, need = measured(kind, side, torch.float16, mode)
    place = Placement("cpu")
    place.moves = True
    assert place.suitable(need, free).word == mode
    most = max(found[stage] for stage in ("text", "unet", "vae"))
    assert most < free
    assert 0.95 < found["estimate"] / most < 1.25


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_low_mode_takes_a_fifth_of_full_mode():
    from benchmarks.accounting import measured

    full, low = (measured("sd1", 512, torch.float16, mode)[0] for mode in ("full", "low"))
    assert max(low[stage] for stage in ("text", "unet", "vae")) < full["vae"] / 5


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card, of which it takes 4 GB")
@pytest.mark.parametrize("mode", ["medium", "low"])
def test_a_model_of_full_size_draws_on_a_card_of_4_gb(mode):
    from sd.conditioning import Condition
    from sd.denoiser import Ask

    from benchmarks.accounting import checkpoint

    cap = 4 * GB - CUDA
    torch.cuda.set_per_process_memory_fraction(cap / torch.cuda.get_device_properties(0).total_memory)
    try:
        model = checkpoint("sd1", torch.float16, torch.float32, mode)
        condition = Condition(torch.zeros(1, 77, 768, dtype=torch.float16, device="cuda"))
        x = torch.randn(1, 4, 64, 64, device="cuda")
        with torch.inference_mode():
            model.denoiser.denoise([Ask(x, torch.ones(1, device="cuda"), [condition] * 2)])
            (picture,) = model.autoencoder.decode_in_float32([x])
        assert picture.size == (512, 512)
        assert torch.cuda.max_memory_reserved() <= cap
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
