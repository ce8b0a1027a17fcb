"""What a model has read is not read again, and takes no more than its share of memory."""

import pytest
import torch
from drawing import pixels, same
from sd.conditioning import Condition, TextEncoder
from sd.recall import Recall

BYTES = 77 * 8 * 4


@pytest.fixture
def read(monkeypatch):
    """How many texts the encoder got in each call."""
    counts, encode = [], TextEncoder.encode

    def counting(self, prompts):
        counts.append(len(prompts))
        return encode(self, prompts)

    monkeypatch.setattr(TextEncoder, "encode", counting)
    return counts


def test_the_next_job_with_the_same_words_reads_nothing_and_gets_the_same_picture(draw, read):
    words = {"prompt": "a (green:1.3) star read once", "negative_prompt": "blur read once", "steps": 2}
    (first,) = draw(**words)
    assert sum(read) == 2
    (second,) = draw(**words)
    assert sum(read) == 2 and (pixels(first) == pixels(second)).all()


def test_words_that_are_read_in_another_way_are_read_again(draw, read):
    words = {"prompt": "a red ring read twice", "negative_prompt": "blur read twice"}  # others read an empty one
    (first,) = draw(**words)
    before = sum(read)
    (second,) = draw(**words, clip_skip=2)
    assert sum(read) == before + 2 and not same(first, second)


def test_exact_pictures_do_not_use_what_was_read_together_with_others(draw, read):
    texts = {"prompt": "a square read apart", "negative_prompt": "a circle read apart"}
    draw(**texts, steps=1)
    before = sum(read)
    draw(**texts, steps=1, exact=True)
    assert sum(read) == before + 2


def test_a_network_for_the_unet_alone_lets_the_model_remember(plugin, make_context):
    plugin._studio.unload()  # other tests make the model forget, but not its variants
    base = plugin._studio.checkpoints.get("builtin", make_context())
    tiled = plugin._studio.checkpoints.variant(base, (), True, make_context())
    assert tiled.recall is base.recall


def test_what_was_used_last_stays_as_far_as_the_bytes_go():
    recall = Recall(limit=2 * BYTES)
    conditions = {name: Condition(torch.zeros(1, 77, 8)) for name in "abc"}
    for name in "ab":
        recall.keep(name, conditions[name])
    recall.get("a")
    recall.keep("c", conditions["c"])
    assert recall.get("a") is conditions["a"] and recall.get("c") is conditions["c"] and recall.get("b") is None


def test_what_is_kept_twice_counts_once():
    recall = Recall(limit=2 * BYTES)
    for name in "aab":
        recall.keep(name, Condition(torch.zeros(1, 77, 8)))
    assert recall.get("a") and recall.get("b")
