"""The job: sizes, two upscalers, alpha, what it tells, and how it ends."""

import numpy
import PIL.Image
import pytest
import tiny
from pictures import picture, pixels

from core.plugin import Cancelled, InvalidParams, ModelNotFound


@pytest.fixture
def model(tmp_path):
    """model(network, "x.pth") puts a network among the models."""
    return lambda network, name="tiny.pth": tiny.saved(network, tmp_path / "models/upscaler" / name)


@pytest.mark.parametrize(
    "given, size",
    [
        ({}, (384, 256)),
        ({"scale": 1}, (96, 64)),
        ({"scale": 2.5}, (240, 160)),
        ({"scale": 8}, (768, 512)),
        ({"width": 100}, (100, 67)),
        ({"height": 128}, (192, 128)),
        ({"width": 100, "height": 100}, (100, 100)),
        ({"width": 100, "height": 100, "crop": False}, (150, 100)),
        ({"width": 33, "height": 7}, (33, 7)),
    ],
)
def test_any_size(upscale, given, size):
    for name in ("builtin/compact-x4", "Lanczos", "Nearest"):
        assert upscale(picture(), model=name, **given).value.size == size


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_smallest_pictures(upscale, model, size, mode):
    model(tiny.swinir())
    for name in ("tiny.pth", "builtin/compact-x4"):
        made = upscale(picture(*size, mode), model=name, scale=3).value
        assert (made.size, made.mode) == ((3 * size[0], 3 * size[1]), mode)


def test_lanczos_and_nearest_are_those_of_pillow(upscale):
    for name in ("Lanczos", "Nearest"):
        made = upscale(picture(), model=name, scale=3).value
        assert made == picture().resize((288, 192), PIL.Image.Resampling[name.upper()])


def test_a_network_makes_what_spandrel_makes_of_the_whole_picture(upscale, model):
    import torch
    from spandrel import ModelLoader

    given = torch.from_numpy(pixels(picture())).permute(2, 0, 1)[None] / 255
    wanted = ModelLoader().load_from_file(model(tiny.esrgan()))(given).mul(255).round()[0].permute(1, 2, 0)
    assert numpy.abs(pixels(upscale(picture(), model="tiny.pth", scale=2).value) - wanted.numpy()).max() <= 1


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_networks_of_one_and_of_four_channels_take_any_picture(upscale, model, channels, mode):
    model(tiny.compact(channels))
    made = upscale(picture(mode=mode), model="tiny.pth", scale=2, tile=64).value
    assert (made.size, made.mode) == ((192, 128), mode)
    assert numpy.corrcoef(pixels(made)[::2, ::2].ravel(), pixels(picture(mode=mode)).ravel())[0, 1] > 0.5


def test_a_cut_out_piece_is_that_of_the_whole(upscale):
    whole, piece = upscale(picture()).value, upscale(picture(), width=128, height=256).value
    assert numpy.abs(pixels(whole.crop((128, 0, 256, 256))) - pixels(piece)).max() <= 1


def test_the_second_upscaler_is_mixed_in(upscale):
    one, other = (upscale(picture(), model=name).value for name in ("builtin/compact-x4", "Nearest"))
    mixed = upscale(picture(), second_model="Nearest", second_visibility=0.25)
    assert numpy.abs(pixels(mixed.value) - pixels(PIL.Image.blend(one, other, 0.25))).max() <= 1
    assert upscale(picture(), second_model="Nearest", second_visibility=0).value == one
    assert "Postprocess upscaler: builtin/compact-x4, Postprocess upscaler 2: Nearest" in mixed.facts["infotext"]


def test_alpha_is_enlarged_by_itself_and_hidden_colours_stay_hidden(upscale):
    disc = picture(mode="RGBA")
    hidden = PIL.Image.new("RGBA", disc.size, (255, 0, 0, 0))
    hidden.paste(disc.convert("RGB"), mask=disc.getchannel("A"))
    hidden.putalpha(disc.getchannel("A"))
    made = [upscale(each).value for each in (disc, hidden)]
    assert made[0].getchannel("A") == disc.getchannel("A").resize((384, 256), PIL.Image.Resampling.LANCZOS)
    seen = pixels(made[0])[..., 3] > 64
    assert numpy.abs(pixels(made[0]) - pixels(made[1]))[seen].max() <= 40  # red would be 255
    assert numpy.abs(pixels(made[0]) - pixels(made[1]))[seen].mean() < 0.5


def test_what_the_picture_tells_goes_along(upscale):
    given = picture()
    given.info = {"parameters": "a cat\nSteps: 20, Sampler: Euler a, Seed: 1", "icc_profile": b"profile"}
    made = upscale(given, width=100, height=50, model="Lanczos")
    assert made.facts["infotext"].startswith(given.info["parameters"])
    assert made.facts["infotext"].endswith("Postprocess upscale to: 100x50, Postprocess upscaler: Lanczos")
    assert made.value.info["icc_profile"] == b"profile"


def test_progress_grows_through_all_passes_and_previews_come(upscale, model, make_context, no_throttle):
    ctx = make_context()
    model(tiny.compact())
    upscale(picture(100, 200), ctx, model="tiny.pth", scale=3, tile=64, second_model="builtin/compact-x4")
    steps = [body["step"] for event, body in ctx.told if event == "progress"]
    shown = [body["image"] for event, body in ctx.told if event == "preview"]
    assert steps == sorted(steps) and steps[-1] == ctx.told[-1][1]["total"] and len(steps) > 20
    assert shown and {each.size for each in shown} == {(256, 512)}


def test_cancel_ends_it_between_tiles(upscale, make_context, no_throttle):
    ctx = make_context(lambda event, body: ctx._cancelled.set() if event == "progress" and body["step"] else None)
    with pytest.raises(Cancelled):
        upscale(picture(200, 200), ctx, tile=64)


@pytest.mark.parametrize("way", ["keep_partial", "skip"])
def test_what_is_there_is_kept_and_the_rest_is_resampled(upscale, make_context, no_throttle, way):
    def listen(event, body):
        if event == "progress" and body["step"] > 50:
            ctx.skips += 1
            ctx._cancelled.set() if way == "keep_partial" else None

    ctx = make_context(listen)
    ctx.keep_partial = way == "keep_partial"
    made = upscale(picture(200, 200), ctx, tile=64)
    whole, plain = upscale(picture(200, 200)).value, picture(200, 200).resize((800, 800), PIL.Image.Resampling.LANCZOS)
    assert made.facts["partial"] is True
    assert numpy.abs(pixels(made.value) - pixels(whole))[:150].max() <= 1
    assert numpy.abs(pixels(made.value) - pixels(plain))[-150:].max() <= 1


def test_a_strip_that_would_be_enlarged_a_thousandfold_is_refused_before_anything_is_done(upscale):
    with pytest.raises(InvalidParams, match="too thin to be enlarged to 9x2000 by a network"):
        upscale(PIL.Image.new("RGB", (3000, 1)), width=9, height=2000)


def test_what_would_be_too_large_is_refused_before_anything_is_done(upscale):
    with pytest.raises(
        InvalidParams, match="scale: 4000x4000 would become 32000x32000, the limit is 150,000,000"
    ) as told:
        upscale(PIL.Image.new("L", (4000, 4000)), scale=8)
    assert "Up to 3.06 times is possible" in told.value.extra["hint"]


def test_a_model_that_is_not_there_is_told(upscale):
    with pytest.raises(
        ModelNotFound, match="there is no upscaler model 'builtin/compact-x5'. Did you mean builtin/compact-x4"
    ):
        upscale(picture(), model="builtin/compact-x5")


def test_a_file_that_changes_is_read_anew_and_the_oldest_networks_leave(upscale, model, plugin):
    plugin.unload()
    model(tiny.compact())
    first = upscale(picture(), model="tiny.pth").value
    model(tiny.compact(seed=1, features=7))
    assert upscale(picture(), model="tiny.pth").value != first
    for name in ("a.safetensors", "deep/b.pth"):
        model(tiny.compact(), name)
        upscale(picture(), model=name, second_model="tiny.pth")
    assert len(plugin._upscalers._loaded) == 2
