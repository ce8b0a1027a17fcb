"""CLIP: how phrases are compared with a picture, and how prompts are put together."""

import PIL.Image
import pytest
import torch
from interrogating.lists import phrase_lists
from interrogating.ranking import Ranker

from core.plugin import Cancelled, InvalidParams, ModelNotFound

PICTURE = PIL.Image.radial_gradient("L").resize((90, 30)).convert("RGB")
PHRASES = ["a red circle", "oil painting", "a photo of the sea at night", "blue"]


@pytest.fixture
def lists(tmp_path, monkeypatch):
    """Short lists in place of the plugin's own."""
    folder = tmp_path / "models/interrogate"
    folder.mkdir(parents=True)
    for name, phrases in {
        "artists": ["by A", "by B", "by C"],
        "mediums": ["a photo", "an etching"],
        "movements": ["cubism", "baroque", "dada"],
        "flavors.top2": ["dark", "bright", "4k", "soft light"],
    }.items():
        (folder / f"{name}.txt").write_text("\n".join(phrases))
    return {name: each.phrases for name, each in phrase_lists(tmp_path / "none", tmp_path / "models").items()}


def library_fits(clip, folder, phrases):
    from transformers import AutoTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pixels = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})(
        PICTURE, return_tensors="pt"
    )
    words = AutoTokenizer.from_pretrained(folder)(phrases, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = clip.eval()(**words, pixel_values=pixels["pixel_values"]).logits_per_image[0]
        return (logits / clip.logit_scale.exp()).tolist(), logits.softmax(0).tolist()


def test_fit_and_share_are_what_the_library_says(ask, clip, tmp_path):
    fits, shares = library_fits(clip, tmp_path / "models/clip/tiny", PHRASES)
    (found,) = ask("rank", PICTURE, clip="tiny", phrases="\n".join(PHRASES))["lists"].values()
    assert [each["phrase"] for each in found] == sorted(PHRASES, key=lambda each: -fits[PHRASES.index(each)])
    for each in found:
        at = PHRASES.index(each["phrase"])
        assert each["fit"] == pytest.approx(fits[at], abs=2e-3) and each["share"] == pytest.approx(shares[at], abs=5e-3)


def test_the_middle_of_a_very_wide_picture_is_read_and_no_more(clip, tmp_path):
    ranker = Ranker("tiny", tmp_path / "models/clip/tiny", "cpu")
    wide = PIL.Image.new("RGB", (20_000, 1), "white")
    assert ranker.picture(wide).norm() == pytest.approx(1)


def test_lists_are_the_plugins_and_the_users(ask, clip, ctx):
    told = ask("rank", PICTURE, clip="tiny", top=3)["lists"]
    assert list(told) == ["artists", "mediums", "movements", "flavors"]
    assert all(len(found) == 3 for found in told.values())
    folder = ctx.models.folder / "interrogate"
    folder.mkdir(parents=True)
    (folder / "mediums.txt").write_text("\ufeffa lino cut\n# for people\n\na lino cut\n", "utf-8")
    (folder / "moods.top2.txt").write_text("grim\njoyful\n")
    told = ask("rank", PICTURE, clip="tiny", top=3)["lists"]
    assert list(told) == ["artists", "mediums", "moods", "movements", "flavors"]
    assert [each["phrase"] for each in told["mediums"]] == ["a lino cut"] and len(told["moods"]) == 2


def test_a_list_that_is_no_text_is_named(ask, clip, ctx):
    (ctx.models.folder / "interrogate").mkdir(parents=True)
    (ctx.models.folder / "interrogate/bad.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidParams, match="bad.txt cannot be read"):
        ask("rank", PICTURE, clip="tiny")


def test_classic_takes_the_best_of_each_list(ask, clip, lists):
    best = {name: each[0]["phrase"] for name, each in ask("rank", PICTURE, clip="tiny")["lists"].items()}
    found = ask("interrogate", PICTURE, mode="classic", clip="tiny", caption="a cat")
    assert found.value.split(", ")[:5] == [
        "a cat",
        best["artists"],
        best["mediums"],
        best["movements"],
        best["flavors"],
    ]
    assert len(found.value.split(", ")) == 6  # flavors.top2


def test_fast_takes_the_best_of_all(ask, clip, lists):
    told = ask("rank", PICTURE, clip="tiny")["lists"].values()
    best = sorted((each for found in told for each in found), key=lambda each: -each["fit"])
    found = ask("interrogate", PICTURE, mode="fast", clip="tiny", caption="a cat", most=4)
    assert found.value == ", ".join(["a cat", *(each["phrase"] for each in best[:4])])
    assert [*found.facts["scores"].values()] == pytest.approx([each["fit"] for each in best[:4]], abs=1e-4)


def test_best_fits_better_with_each_phrase(ask, clip, lists):
    fits = [
        ask("interrogate", PICTURE, mode="best", clip="tiny", caption="a cat", most=most).facts["fit"]
        for most in (1, 2, 3, 12)
    ]
    alone = ask("rank", PICTURE, clip="tiny", phrases="a cat")["lists"]["phrases"][0]["fit"]
    assert [alone, *fits] == sorted([alone, *fits]) and fits[0] > alone


def test_best_is_no_worse_than_any_single_phrase(ask, clip, lists):
    every = [phrase for phrases in lists.values() for phrase in phrases]
    told = ask("rank", PICTURE, clip="tiny", phrases="\n".join(f"a cat, {phrase}" for phrase in every))
    best = told["lists"]["phrases"][0]["fit"]
    assert ask("interrogate", PICTURE, mode="best", clip="tiny", caption="a cat", most=1).facts["fit"] >= best - 1e-3


def test_prompt_is_no_longer_than_clip_reads(ask, clip, ctx, lists):
    caption = "an old house near the sea with many windows"  # the tiny tokenizer has a token for each letter
    found = ask("interrogate", PICTURE, mode="fast", clip="tiny", caption=caption, most=64)
    ranker = Ranker("tiny", ctx.models.path("clip", "tiny"), "cpu")
    assert found.value.startswith(caption) and ranker.fits(found.value)
    assert not ranker.fits(", ".join([caption, *sum(lists.values(), [])]))


def test_phrases_are_read_once(ask, plugin, clip, lists, monkeypatch):
    ask("rank", PICTURE, clip="tiny")
    ranker = plugin._loaded._kept["clip"][1]
    monkeypatch.setattr(ranker._network, "get_text_features", lambda *_: pytest.fail("read again"))
    assert ask("rank", PICTURE.rotate(90), clip="tiny")


def test_cancel_ends_and_keeps_what_there_is(ask, plugin, ctx, clip, lists):
    ctx._cancelled.set()
    ctx.keep_partial = True
    found = ask("interrogate", PICTURE, mode="best", clip="tiny", caption="a cat")
    assert (found.value, found.facts) == ("a cat", {"caption": "a cat", "partial": True})
    ctx.keep_partial = False
    with pytest.raises(Cancelled):
        ask("interrogate", PICTURE, mode="best", clip="tiny", caption="a cat")


def test_of_a_prompt_that_is_cut_short_the_phrases_that_were_found_are_kept(ask, ctx, clip, lists, monkeypatch):
    wanted = ask("interrogate", PICTURE, mode="best", clip="tiny", caption="a cat", most=1)

    def cancel(step, total, phase):
        if (phase, step) == ("chain", 1):
            ctx._cancelled.set()

    monkeypatch.setattr(ctx, "progress", cancel)
    ctx.keep_partial = True
    found = ask("interrogate", PICTURE, mode="best", clip="tiny", caption="a cat", most=12)
    assert found.value == wanted.value and found.facts["partial"] and len(found.facts["scores"]) == 1


def test_missing_models_are_told_before_anything_is_done(ask):
    with pytest.raises(ModelNotFound, match="blip-image-captioning-base.*clip-vit-large-patch14"):
        ask("interrogate", PICTURE)
    with pytest.raises(ModelNotFound, match="clip-vit-large-patch14") as told:
        ask("interrogate", PICTURE, caption="a cat")
    assert "blip" not in str(told.value)
    with pytest.raises(ModelNotFound, match="blip-image-captioning-base"):
        ask("interrogate", PICTURE, mode="caption")
