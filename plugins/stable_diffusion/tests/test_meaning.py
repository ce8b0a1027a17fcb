"""That prompts mean what they say: weights, negative prompts, editing, AND, on pictures of the built-in model."""

import pytest
import torch
from drawing import RED_CIRCLE, difference, is_red_disc_on_blue, middle, pixels, redness, same
from safetensors.torch import save_file
from sd.names import SAMPLERS, SCHEDULES

from core.plugin import InvalidParams


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_a_red_circle_on_a_blue_background(draw, sampler):
    steps = 50 if sampler == "DPM fast" else 12
    (result,) = draw(sampler=sampler, steps=steps)
    assert is_red_disc_on_blue(result)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_draws_a_red_circle_on_a_blue_background(draw, schedule):
    (result,) = draw(sampler="DPM++ 2M", schedule=schedule, steps=16)
    assert is_red_disc_on_blue(result)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_works_with_one_step_and_two_and_at_the_ends_of_strength(draw, sampler):
    size = {"width": 64, "height": 64, "sampler": sampler}
    (one,) = draw(steps=1, **size)
    (two,) = draw(steps=2, **size)
    assert pixels(one).std() > 10 and pixels(two).std() > 10
    for strength in (0, 1):
        for steps in (1, 2):
            (result,) = draw(image=one.value, denoising_strength=strength, steps=steps, **size)
            assert result.value.size == (64, 64)


@pytest.mark.parametrize("emphasis", ["original", "no norm", "comfyui"])
def test_what_weighs_more_shows_more_in_colour_and_shape(draw, emphasis):
    def red(weight):
        other = round(2 - weight, 1)
        prompt = f"a (red circle:{weight}) and a (blue square:{other}) on a white background"
        return redness(draw(prompt=prompt, steps=8, emphasis=emphasis)[0])

    reds = [red(weight) for weight in (0.1, 0.5, 1, 1.5, 1.9)]
    assert reds == sorted(reds) and reds[-1] > reds[0] + 60


def test_a_negative_prompt_keeps_away(draw):
    def red(negative):
        (result,) = draw(prompt="a circle", negative_prompt=negative, steps=8)
        return redness(result)

    assert red("a red circle") < red("a blue circle") - 100


def contexts(calls):
    """Which context guided each evaluation of one image, by numbers in the order of their appearance."""
    used, seen = [ask.conditions[0].context for (ask,) in calls], []
    for context in used:
        if not any(context is each for each in seen):
            seen.append(context)
    return [next(i for i, each in enumerate(seen) if each is context) for context in used]


def test_editing_changes_the_prompt_at_the_step_it_names(draw, calls):
    draw(prompt="a [red:blue:5] circle", steps=10)
    assert contexts(calls) == [0] * 6 + [1] * 4  # A1111 counts evaluations from 0, up to and including the 5th


def test_editing_counts_evaluations_where_a_step_has_two(draw, calls):
    draw(prompt="a [red:blue:0.5] circle", steps=4, sampler="Heun")
    assert contexts(calls) == [0] * 5 + [1] * 2  # of 8, of which the last is not made


def test_alternation_takes_turns(draw, calls):
    draw(prompt="a [red|blue] circle", steps=6)
    assert contexts(calls) == [0, 0, 1, 0, 1, 0]


def test_the_second_pass_of_hires_fix_goes_on_with_the_editing(draw, calls):
    draw(prompt="a [red:blue:1.5] circle", steps=4, hires=True, hires_steps=4)
    assert contexts(calls) == [0] * 7 + [1]  # 1.5 is the middle of the second pass: its step 2, inclusive


def test_what_is_edited_late_is_seen_and_what_is_edited_at_the_end_is_not(draw):
    early, late = (draw(prompt=f"a [blue:red:{at}] circle on a white background", steps=12)[0] for at in (0.05, 0.95))
    assert redness(early) > 60 and redness(late) < 0


def test_and_mixes_prompts_by_their_weights(draw):
    def red(weight):
        prompt = (
            f"a red circle on a white background :{weight} AND a blue circle on a white background :{1 - weight:.1f}"
        )
        return redness(draw(prompt=prompt, steps=8)[0])

    reds = [red(weight) for weight in (0.0, 0.3, 0.7, 1.0)]
    assert reds == sorted(reds) and reds[-1] > reds[0] + 150


def test_a_part_without_weight_costs_nothing_and_a_negative_one_keeps_away(draw, calls):
    (plain,), (ignored,) = draw(), draw(prompt=f"{RED_CIRCLE} AND a green star :0")
    assert plain.value.tobytes() == ignored.value.tobytes()
    assert {len(ask.conditions) for asks in calls for ask in asks} == {2}
    (away,) = draw(prompt="a circle on a white background AND a red circle :-0.7", steps=8)
    (there,) = draw(prompt="a circle on a white background AND a red circle :0.7", steps=8)
    assert redness(away) < redness(there) - 50


def test_words_beyond_the_75th_token_count(draw):
    long = "a blue background" + ", very nice" * 30
    plain, told = draw(prompt=long)[0], draw(prompt=f"{long}, a red circle")[0]
    assert difference(plain, told) > 3


def test_prompts_of_different_length_are_drawn_beside_each_other_as_alone(draw):
    long = {"prompt": RED_CIRCLE + ", nice" * 60, "negative_prompt": "a BREAK b BREAK c"}
    (alone,) = draw(**long)
    batch = draw(**long, batch_size=2)
    assert same(alone, batch[0])


def test_comments_are_not_read_and_malformed_prompts_are_text(draw):
    (plain,), (commented,) = draw(), draw(prompt=RED_CIRCLE + " # a green star\n# nothing")
    assert plain.value.tobytes() == commented.value.tobytes()
    for prompt in ("(a:1.2.3)", "[[[", "a:1)", "{a|", "<lora:", "__x", "AND", "BREAK", "[a:b:c:d:", "((((:0)"):
        assert draw(prompt=prompt, steps=1, width=64, height=64)


def test_clip_skip_and_emphasis_change_what_is_read(draw):
    prompt = "a (red:1.4) circle on a blue background"
    ways = [{}, {"clip_skip": 2}, {"emphasis": "no norm"}, {"emphasis": "ignore"}, {"emphasis": "comfyui"}]
    pictures = [draw(prompt=prompt, **way)[0] for way in ways]
    assert all(difference(a, b) > 0.01 for i, a in enumerate(pictures) for b in pictures[:i])


def test_styles_are_added_to_both_prompts_and_told(draw, make_context):
    ctx = make_context()
    ctx.models.folder.joinpath("styles").mkdir(parents=True)
    ctx.models.folder.joinpath("styles/styles.csv").write_text(
        'name,prompt,negative_prompt\nnight,"{prompt} on a black background",white\n', "utf-8"
    )
    (styled,) = draw(ctx, prompt="a red circle", styles=["night"])
    (plain,) = draw(prompt="a red circle on a black background", negative_prompt="white")
    assert styled.value.tobytes() == plain.value.tobytes()
    assert styled.facts["prompt"] == "a red circle on a black background" and styled.facts["negative_prompt"] == "white"
    assert styled.facts["infotext"] == plain.facts["infotext"]


def test_wildcards_are_drawn_by_the_seed_of_each_picture_and_told(draw):
    prompt = "a {red|green|blue|yellow} {circle|square|star} on a {white|black} background"
    batch = draw(prompt=prompt, batch_size=6, steps=2)
    again = draw(prompt=prompt, seed=3, steps=2)
    texts = [result.facts["prompt"] for result in batch]
    assert len(set(texts)) > 2 and not any("{" in text for text in texts)
    assert again[0].facts["prompt"] == texts[2] and same(again[0], batch[2])
    (fixed,) = draw(prompt=texts[2], seed=3, steps=2)
    assert same(fixed, batch[2])


def test_a_text_that_comes_in_is_the_prompt(draw):
    (given,) = draw(text="a red circle on a blue background", prompt="a green star")
    (plain,) = draw(prompt="a red circle on a blue background")
    assert same(given, plain) and given.facts["infotext"] == plain.facts["infotext"]
    (redrawn,) = draw(image=plain.value, text="a green star", denoising_strength=1, seed=4)
    assert same(redrawn, draw(image=plain.value, prompt="a green star", denoising_strength=1, seed=4)[0])
    with pytest.raises(InvalidParams, match="the text has 20,001 characters; a prompt has at most 20,000"):
        draw(text="x" * 20_001)


def test_an_embedding_is_what_its_vectors_say(draw, make_context, plugin):
    ctx = make_context()
    checkpoint = plugin._studio.checkpoints.get("builtin", ctx)
    red, circle = checkpoint.tokenizers[0]("red circle", add_special_tokens=False).input_ids
    with torch.inference_mode(False):
        vectors = checkpoint.clips[0].get_input_embeddings().weight[[red, circle]].clone()
    folder = ctx.models.folder / "embedding"
    folder.mkdir(parents=True)
    save_file({"emb_params": vectors.half()}, folder / "myword.safetensors")
    (named,), (plain,) = draw(ctx, prompt="a myword on a blue background", steps=8), draw(steps=8)
    assert difference(named, plain) < 1


def test_a_lora_in_the_prompt_changes_the_picture_and_its_weight_how_much(draw, make_context, plugin):
    ctx = make_context()
    unet = plugin._studio.checkpoints.get("builtin", ctx).unet
    name, layer = next((n, m) for n, m in unet.named_modules() if n.endswith("attn2.to_v"))
    generator = torch.Generator().manual_seed(0)
    down = torch.randn(4, layer.in_features, generator=generator) / layer.in_features**0.5
    up = torch.randn(layer.out_features, 4, generator=generator)
    key = "lora_unet_" + name.replace(".", "_")
    folder = ctx.models.folder / "lora"
    folder.mkdir(parents=True)
    save_file({f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}, folder / "odd.safetensors")
    (plain,) = draw()
    pictures = [draw(ctx, prompt=f"{RED_CIRCLE}<lora:odd:{weight}>")[0] for weight in (0, 0.3, 1)]
    distances = [difference(plain, picture) for picture in pictures]
    assert distances[0] == 0 and 0 < distances[1] < distances[2]
    assert 'Lora hashes: "odd: ' in pictures[2].facts["infotext"]
    assert same(draw()[0], plain)  # the model itself is as it was


def test_the_colour_in_the_middle_is_the_one_that_is_asked_for(draw):
    colours = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
    for name, wanted in colours.items():
        found = middle(draw(prompt=f"a {name} circle on a white background", steps=8)[0])
        assert found.argmax() == wanted.index(1)
