"""Published weights: the networks that they fit, and, with `python3 -m tests --weights DIR`, what they say. DIR is laid
out as models/ is."""

import os
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest
import torch

from core.library.models import Models

WEIGHTS = os.environ.get("STABLE_CORE_WEIGHTS")
PHRASES = ["a red circle on a blue background", "a green triangle", "a photo of a crowd in a street", "a page of text"]


def test_the_networks_have_as_many_weights_as_the_published_files():
    """config.json of CLIP ViT-L/14, ViT-B/32 and BLIP base, as far as they say more than the library assumes."""
    from transformers import BlipConfig, BlipForConditionalGeneration, CLIPConfig, CLIPModel

    wide = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768}
    eyes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    large = CLIPConfig(text_config=wide, vision_config=eyes | {"patch_size": 14}, projection_dim=768)
    with torch.device("meta"):
        made = [CLIPModel(large), CLIPModel(CLIPConfig()), BlipForConditionalGeneration(BlipConfig())]
    counts = [sum(weight.numel() for weight in model.parameters()) for model in made]
    counts[2] += 30_524 * 768  # the file has the embeddings of words twice
    sizes = [1_710_540_580, 605_247_071, 989_820_849]  # of the files, in float32, with names and shapes
    assert counts[0] == 427_616_513
    for count, size in zip(counts, sizes, strict=True):
        assert 0 <= size - 4 * count < 400_000


@pytest.mark.skipif(not WEIGHTS, reason="needs published weights: python3 -m tests --weights DIR")
def test_published_weights_say_what_is_drawn(ask, ctx):
    ctx.models = models = Models(Path(WEIGHTS), [])
    picture = PIL.Image.new("RGB", (512, 512), (30, 60, 210))
    PIL.ImageDraw.Draw(picture).ellipse((116, 116, 396, 396), fill=(220, 30, 30))
    for name in models.entries("clip"):
        told = ask("rank", picture, clip=name, phrases="\n".join(PHRASES))["lists"]["phrases"]
        assert told[0]["phrase"] == PHRASES[0] and told[0]["share"] > 0.9, name
    for name in models.entries("captioner"):
        caption = ask("interrogate", picture, mode="caption", captioner=name).value
        assert "red" in caption and "blue" in caption, name
    for name in models.entries("tagger"):
        tags = ask("tag_scores", picture, model=name, threshold=0)["general"]
        assert tags.get("no_humans", 1) > tags["1girl"], name
