"""BLIP: a folder in the layout of transformers, and what becomes of a picture in it."""

import PIL.Image
import pytest
import torch
from interrogating.captions import Captioner

from core.plugin import Cancelled

PICTURE = PIL.Image.radial_gradient("L").resize((50, 30)).convert("RGB")


def test_caption_is_what_the_library_says_of_the_same_picture(ask, blip, tmp_path):
    from transformers import AutoTokenizer
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    found = ask("interrogate", PICTURE, mode="caption", captioner="tiny", beams=1, shortest=0, longest=12)
    pixels = BlipImageProcessorPil(size={"height": 32, "width": 32})(PICTURE, return_tensors="pt")["pixel_values"]
    ids = blip.generate(pixels, max_new_tokens=12, num_beams=1, do_sample=False)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "models/captioner/tiny")
    assert found.value == tokenizer.decode(ids[0], skip_special_tokens=True) != ""
    assert found.facts == {"caption": found.value}


def test_pictures_are_prepared_as_the_library_does(blip, tmp_path):
    from interrogating.pictures import normalised
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    captioner = Captioner("tiny", tmp_path / "models/captioner/tiny", "cpu")
    wanted = BlipImageProcessorPil(size={"height": 32, "width": 32})(PICTURE, return_tensors="pt")["pixel_values"]
    assert torch.allclose(normalised(PICTURE.resize((32, 32), 3), *captioner._normal), wanted, atol=1e-5)


@pytest.mark.parametrize("given", [{"beams": 3}, {"shortest": 6, "longest": 6}, {"shortest": 9, "longest": 4}])
def test_length_and_beams_are_kept_to(ask, ctx, blip, given):
    caption = ask("interrogate", PICTURE, mode="caption", captioner="tiny", **given).value
    assert len(caption.split()) <= max(given.get("longest", 50), given.get("shortest", 0))
    steps = [body["step"] for event, body in ctx.told if event == "progress"]
    assert steps == sorted(steps) and max(steps) <= given.get("longest", 50)


def test_caption_continues_its_start(ask, blip):
    found = ask("interrogate", PICTURE, mode="caption", captioner="tiny", caption_start="a photo of", longest=5)
    assert found.value.startswith("a photo of")


def test_cancel_ends_between_two_words(ask, ctx, blip):
    ctx._cancelled.set()
    with pytest.raises(Cancelled):
        ask("interrogate", PICTURE, mode="caption", captioner="tiny")


def test_what_there_is_is_kept_on_request(ask, plugin, ctx, blip):
    plugin._loaded.get("captioner", "tiny", Captioner, ctx)
    ctx._cancelled.set()
    ctx.keep_partial = True
    found = ask("interrogate", PICTURE, mode="caption", captioner="tiny", shortest=20)
    assert len(found.value.split()) <= 1
