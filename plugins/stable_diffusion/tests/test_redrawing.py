"""Jobs that start from a picture: what they keep of it and what they change."""

import numpy
import PIL.Image
import PIL.ImageDraw
import pytest
from drawing import RED_CIRCLE, difference, is_red_disc_on_blue, middle, pixels, redness, same

from core.plugin import InvalidParams

SIZE = (128, 128)


@pytest.fixture
def source():
    """A white picture with a black grid, 128 x 128: nothing that the model would draw by itself."""
    picture = PIL.Image.new("RGB", SIZE, "white")
    drawing = PIL.ImageDraw.Draw(picture)
    for at in range(0, 128, 16):
        drawing.line((at, 0, at, 127), "black")
        drawing.line((0, at, 127, at), "black")
    return picture


@pytest.fixture
def mask():
    mask = PIL.Image.new("L", SIZE)
    mask.paste(255, (40, 40, 88, 88))
    return mask


@pytest.mark.parametrize("sampler", ["Euler", "DDIM", "DPM++ 2M SDE", "UniPC"])
def test_the_picture_changes_more_with_more_strength(draw, sampler):
    source = PIL.Image.new("RGB", SIZE, (40, 160, 60))
    results = [
        draw(image=source, denoising_strength=strength, steps=12, sampler=sampler)[0] for strength in (0, 0.3, 0.6, 1)
    ]
    distances = [difference(result, source) for result in results]
    assert distances == sorted(distances) and distances[0] < 12
    assert is_red_disc_on_blue(results[-1])


def test_size_0_is_the_pictures_own(draw):
    (result,) = draw(image=PIL.Image.new("RGB", (90, 61), "white"), steps=1)
    assert result.value.size == (88, 56)
    (result,) = draw(image=PIL.Image.new("RGB", (90, 61), "white"), steps=1, width=64)
    assert result.value.size == (64, 56)


@pytest.mark.parametrize(
    ("mode", "left", "middle"),
    [
        ("just resize", "red", "blue"),  # bands of a third each
        ("crop and resize", "blue", "blue"),
        ("resize and fill", "red", "blue"),
        ("just resize (latent upscale)", "red", "blue"),
    ],
)
def test_resize_modes(draw, mode, left, middle):
    bands = PIL.Image.new("RGB", (192, 64), "blue")
    bands.paste("red", (0, 0, 32, 64))
    bands.paste("red", (160, 0, 192, 64))
    options = {"width": 64, "height": 64, "denoising_strength": 0, "steps": 20, "prompt": ""}
    (result,) = draw(image=bands, resize_mode=mode, **options)
    found = pixels(result)
    assert result.value.size == (64, 64)
    assert ["red", "green", "blue"][found[32, 2].argmax()] == left
    assert ["red", "green", "blue"][found[32, 32].argmax()] == middle


def test_fixed_steps_run_all_of_them(draw, calls):
    image = PIL.Image.new("RGB", (64, 64), "white")
    draw(image=image, denoising_strength=0.3, steps=6, fix_steps=True)
    assert len(calls) == 6
    draw(image=image, denoising_strength=0, steps=3, fix_steps=True)
    assert len(calls) == 6 + 3


def test_colour_correction_takes_the_colours_of_the_source(draw):
    source = PIL.Image.new("RGB", SIZE, (200, 180, 40))
    plain, corrected = (
        draw(image=source, denoising_strength=0.9, steps=6, color_correction=on)[0] for on in (False, True)
    )
    hue = lambda result: pixels(result).mean((0, 1)) - pixels(result).mean()  # noqa: E731
    assert abs(hue(corrected) - hue(source)).sum() < abs(hue(plain) - hue(source)).sum() - 10


def test_several_pictures_are_each_redrawn_with_its_own_seeds(draw):
    image = PIL.Image.new("RGB", (64, 64), "white")
    results = draw(image=image, batch_size=2, n_iter=2, steps=2)
    assert [result.facts["seed"] for result in results] == [1, 2, 3, 4]


@pytest.mark.parametrize("fill", ["original", "fill", "latent noise", "latent nothing"])
def test_outside_of_the_mask_nothing_changes(draw, source, mask, fill):
    (result,) = draw(job="inpaint", image=source, mask=mask, fill=fill, denoising_strength=1, steps=8, mask_blur=2)
    before, after = numpy.asarray(source), numpy.asarray(result.value)
    outside = numpy.ones(SIZE, bool)
    outside[30:98, 30:98] = False
    assert (before[outside] == after[outside]).all()
    assert abs(before[48:80, 48:80].astype(int) - after[48:80, 48:80]).mean() > 20


def test_an_inverted_mask_changes_the_rest(draw, source, mask):
    (result,) = draw(job="inpaint", image=source, mask=mask, invert_mask=True, denoising_strength=1, mask_blur=0)
    before, after = numpy.asarray(source), numpy.asarray(result.value)
    assert (before[40:88, 40:88] == after[40:88, 40:88]).all()
    assert (before[:32] != after[:32]).any()


def test_only_masked_draws_the_part_large_and_fits_it_in(draw, mask, calls):
    source = PIL.Image.new("RGB", (300, 200), "blue")
    large = mask.resize((300, 200))
    (result,) = draw(
        job="inpaint", image=source, mask=large, only_masked=True, only_masked_padding=16, denoising_strength=1,
        steps=12, fill="latent noise", prompt=RED_CIRCLE,
    )  # fmt: skip
    assert result.value.size == (300, 200)
    assert {tuple(ask.x.shape[2:]) for asks in calls for ask in asks} == {(16, 16)}  # the model's own size
    assert numpy.asarray(result.value)[:, :40].reshape(-1, 3).max(0).tolist() == [0, 0, 255]
    assert redness(result) > 50
    assert "Inpaint area: Only masked" in result.facts["infotext"]


@pytest.mark.parametrize("only_masked", [False, True])
def test_an_empty_mask_changes_nothing_and_a_full_one_everything(draw, source, only_masked):
    empty, full = PIL.Image.new("L", SIZE), PIL.Image.new("L", SIZE, 255)
    options = {"job": "inpaint", "image": source, "only_masked": only_masked, "denoising_strength": 1, "steps": 8}
    (untouched,), (redrawn,) = draw(mask=empty, **options), draw(mask=full, fill="latent noise", **options)
    assert untouched.value.tobytes() == source.tobytes()
    assert is_red_disc_on_blue(redrawn)


def test_a_picture_of_any_size_keeps_it_when_inpainted(draw):
    source, mask = PIL.Image.new("RGB", (101, 77), "white"), PIL.Image.new("L", (50, 40), 0)
    mask.paste(255, (20, 10, 30, 20))
    (result,) = draw(job="inpaint", image=source, mask=mask, steps=2)
    assert result.value.size == (101, 77)
    assert numpy.asarray(result.value)[:, :20].min() == 255


def test_a_transparent_picture_keeps_its_transparency(draw, mask):
    source = PIL.Image.new("RGBA", SIZE, (10, 20, 30, 128))
    (result,) = draw(job="inpaint", image=source, mask=mask, steps=1)
    assert result.value.mode == "RGBA" and result.value.getchannel("A").getextrema() == (128, 128)


@pytest.mark.parametrize("method", ["mk2", "poor man's"])
def test_a_picture_grows_at_its_sides_and_stays_what_it_was(draw, method):
    (source,) = draw(steps=8)
    (result,) = draw(
        job="outpaint", image=source.value, method=method, pixels=64, mask_blur=4, directions=["left", "down"], steps=8,
        prompt="a blue background",
    )  # fmt: skip
    assert result.value.size == (192, 192)
    before, after = pixels(source), pixels(result)
    assert (after[:112, 80:] == before[:112, 16:]).all()
    assert is_blue(after[150:, :]) and is_blue(after[:100, :40])


def test_a_picture_grows_by_as_much_as_each_side_says(draw):
    source = PIL.Image.new("RGB", SIZE, "red")
    (result,) = draw(job="outpaint", image=source, left=8, down=24, steps=1)
    assert result.value.size == (SIZE[0] + 8, SIZE[1] + 24)


def is_blue(rgb):
    red, green, blue = rgb.mean((0, 1))
    return blue > 130 and red < 100


@pytest.mark.parametrize(("at_step", "size"), [(2, (128, 64)), (3, (192, 64))])
def test_a_picture_that_is_to_end_has_grown_at_the_sides_that_were_begun(draw, make_context, at_step, size):
    def listen(event, body):
        if body.get("phase") == "sample" and body["step"] >= at_step:
            ctx._cancelled.set()

    ctx = make_context(listen)
    ctx.keep_partial = True
    grow = {"pixels": 64, "directions": ["left", "right"], "mask_blur": 2, "steps": 2}
    (result,) = draw(ctx, job="outpaint", image=PIL.Image.new("RGB", (64, 64), "red"), **grow)
    assert result.facts["partial"] and result.value.size == size == (result.facts["width"], result.facts["height"])


def test_outpainting_says_what_directions_there_are(draw):
    with pytest.raises(ValueError, match="left"):
        draw(job="outpaint", image=PIL.Image.new("RGB", SIZE), directions=["north"])
    with pytest.raises(ValueError, match="directions"):
        draw(job="outpaint", image=PIL.Image.new("RGB", SIZE), directions=[])


def test_sd_upscale_enlarges_without_seams(draw, calls):
    source = PIL.Image.new("RGB", SIZE, (36, 72, 216))
    (result,) = draw(
        job="sd_upscale", image=source, prompt="a blue background", overlap=32, steps=8, denoising_strength=0.2
    )
    assert result.value.size == (256, 256) and result.facts["width"] == 256
    assert max(len(asks) for asks in calls) > 1  # tiles share calls
    steps = abs(numpy.diff(pixels(result).mean(2), axis=1)).mean(0)
    assert steps.max() < 3  # brightness from one column to the next
    assert is_blue(pixels(result))


def test_sd_upscale_of_a_small_picture_is_one_tile(draw):
    (result,) = draw(job="sd_upscale", image=PIL.Image.new("RGB", (24, 40), "blue"), scale=1.5, steps=1)
    assert result.value.size == (32, 56)


def test_several_upscaled_pictures_have_several_seeds(draw):
    source = PIL.Image.new("RGB", (64, 64), "blue")
    results = draw(job="sd_upscale", image=source, width=64, height=64, overlap=16, batch_size=2, steps=2)
    assert [result.facts["seed"] for result in results] == [1, 2]
    (second,) = draw(job="sd_upscale", image=source, width=64, height=64, overlap=16, seed=2, steps=2)
    assert same(second, results[1])


def test_a_tile_that_fails_leaves_the_others_where_they_are(plugin, make_context, monkeypatch):
    from sd import SdUpscale, sd_upscale

    def drawn(shot, latents, source, *size):
        if shot.k == 1:
            raise RuntimeError("bad luck")
        return PIL.Image.new("RGB", size, (0, 10 * shot.k, 0))

    monkeypatch.setattr(sd_upscale, "redrawn", drawn)
    params = SdUpscale(seed=5, width=64, height=64, overlap=0, scale=1, batch_size=2)
    results = plugin.sd_upscale(PIL.Image.new("RGB", (128, 128), "red"), params, make_context())
    first = next(results)
    assert [first.value.getpixel(at) for at in ((0, 0), (64, 0), (0, 64), (64, 64))] == [
        (0, 0, 0), (255, 0, 0), (0, 20, 0), (0, 30, 0),
    ]  # fmt: skip
    assert first.facts["partial"] and first.facts["seed"] == 5
    with pytest.raises(RuntimeError, match="bad luck"):
        list(results)


def test_what_would_become_too_large_to_be_opened_is_refused(draw):
    with pytest.raises(
        InvalidParams, match="scale: 2000x8 would be enlarged to 16000x64, the limit is 12000"
    ) as caught:
        draw(job="sd_upscale", image=PIL.Image.new("RGB", (2000, 8)), scale=8)
    assert caught.value.extra["field"] == "scale"


def test_the_noise_found_for_a_picture_draws_it_again_and_changes_what_the_words_change(draw):
    (source,) = draw(steps=8)
    options = {"job": "img2img_alternative", "image": source.value, "original_prompt": RED_CIRCLE, "steps": 20}
    (again,) = draw(prompt=RED_CIRCLE, cfg_scale=1, **options)
    assert difference(again, source) < 12
    (green,) = draw(prompt="a green circle on a blue background", cfg_scale=3, **options)
    assert middle(green).argmax() == 1
    rgb = pixels(green)
    assert abs(rgb[:12] - pixels(source)[:12]).mean() < 20  # the background stays


@pytest.mark.parametrize("option", [{"color_correction": True}, {"noise_multiplier": 0.5}])
def test_what_all_redrawing_jobs_have_works_from_found_noise_too(draw, option):
    source = PIL.Image.new("RGB", (64, 64), (200, 180, 40))
    options = {"job": "img2img_alternative", "image": source, "steps": 2, "decode_steps": 2, "sampler": "Euler"}
    assert difference(draw(**options)[0], draw(**options, **option)[0]) > 1


def test_a_walk_goes_from_one_picture_to_another_in_small_steps(draw):
    start, end = {"prompt": RED_CIRCLE, "seed": 1}, {"prompt": "a yellow circle on a green background", "seed": 7}
    frames = draw(job="interpolate", **start, to_prompts=end["prompt"], to_seed=7, frames=7, steps=6)
    (first,), (last,) = draw(**start, steps=6), draw(**end, steps=6)
    assert "Variation seed: 7, Variation seed strength: 0.5, " in frames[3].facts["infotext"]
    assert len(frames) == 7 and same(frames[0], first) and difference(frames[-1], last) < 1
    away = [difference(frame, first) for frame in frames]
    assert away[0] < 1 < away[3] and away[-1] == pytest.approx(difference(last, first), abs=1)
    assert max(difference(a, b) for a, b in zip(frames, frames[1:], strict=False)) < difference(first, last)


def test_a_walk_through_several_prompts_stops_at_each(draw):
    frames = draw(job="interpolate", prompt=RED_CIRCLE, to_prompts="a green star\n\na blue square", frames=5, steps=2)
    (star,) = draw(prompt="a green star", steps=2)
    assert same(frames[2], star)


@pytest.mark.parametrize(("job", "field"), [("interpolate", "to_prompts"), ("img2img_alternative", "original_prompt")])
def test_a_network_that_only_the_other_prompt_names_is_refused(draw, job, field):
    image = {"image": PIL.Image.new("RGB", (64, 64))} if job == "img2img_alternative" else {}
    with pytest.raises(InvalidParams, match=f"{field}: x would change the model on the way") as caught:
        draw(job=job, **image, **{field: "a <lora:x:1>"}, steps=1)
    assert caught.value.extra["field"] == field


def test_a_walk_between_prompts_with_other_numbers_of_parts_is_refused(draw):
    with pytest.raises(InvalidParams, match="2 parts"):
        draw(job="interpolate", prompt="a AND b", to_prompts="c", frames=2, steps=1)
