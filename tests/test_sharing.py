"""Sixteen clients at once, no two alike, some of which fail or go: each gets the picture that it would get alone."""

import contextlib
import io
import json
import random
import struct

import PIL.Image
import PIL.ImageChops
import pytest

from tests.serving import ROOT, serve
from tests.wire import Wire

pytestmark = pytest.mark.torch
PLUGIN = ROOT / "plugins" / "stable_diffusion"
CIRCLE = "a red circle on a blue background"
WHOLE = [
    {"sampler": "Euler"},
    {"sampler": "Euler", "prompt": "a green star", "steps": 7},
    {"sampler": "Euler a", "width": 128},
    {"sampler": "Euler a", "prompt": f"{CIRCLE}, " * 12, "negative_prompt": "blur"},  # two chunks
    {"sampler": "DPM++ 2M Karras", "prompt": "a [red|blue] ring", "cfg_scale": 1},
    {"sampler": "DPM++ SDE", "prompt": "a star AND a blue background :0.5"},
    {"sampler": "Heun", "prompt": "a (green:1.4) square, " * 25, "steps": 3},  # three chunks
    {"sampler": "UniPC", "width": 128, "height": 128},
    {"sampler": "DDIM", "prompt": f"{CIRCLE} <lora:some:0.7>"},
    {"sampler": "Euler", "prompt": f"{CIRCLE} <lora:some:0.7>"},
    {"sampler": "DPM++ 3M SDE", "prompt": f"{CIRCLE} <lora:some:-0.5>", "tiling": True},
    {"sampler": "LMS", "batch_size": 2, "cfg_rescale": 0.7},
]
FAILS = {"sampler": "Euler", "prompt": "a star AND a ring :" + "9" * 38}  # in calls with others
MISSING = {"prompt": "a <lora:nowhere:1> star"}
CANCELLED = [{"sampler": "Euler", "steps": 150}, {"sampler": "Heun", "steps": 150, "width": 128}]


def write_lora(folder):
    """A network of random numbers for one layer, in kohya's names."""
    config = json.loads((PLUGIN / "builtin/unet/config.json").read_text("utf-8"))
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v"
    shapes = {
        f"{layer}.lora_up.weight": (config["block_out_channels"][-1], 4),
        f"{layer}.lora_down.weight": (4, config["cross_attention_dim"]),
    }
    header, data, numbers = {}, b"", random.Random(0)
    for name, (rows, columns) in shapes.items():
        begin = len(data)
        data += struct.pack(f"<{rows * columns}f", *(numbers.gauss(0, 0.3) for _ in range(rows * columns)))
        header[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path = folder / "models/lora/some.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def ask(wire, number, params):
    small = {"prompt": CIRCLE, "steps": 4, "seed": number, "width": 64, "height": 64}
    return wire.submit("txt2img", small | params, fresh=True)


def pictures(wire, ended):
    assert ended["state"] == "done", ended
    return [PIL.Image.open(io.BytesIO(wire.download(each).content)).convert("RGB") for each in ended["outputs"]]


def farthest(one, other):
    """The largest difference of two pictures, 0 to 255."""
    assert one.size == other.size
    return max(high for _, high in PIL.ImageChops.difference(one, other).getextrema())


def test_any_mixture_of_sixteen_jobs_gives_each_the_picture_it_would_get_alone():
    with serve({"stable_diffusion": PLUGIN}, write_lora) as server, contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(server)) for _ in range(16)]
        works = [*WHOLE[:6], *CANCELLED, FAILS, MISSING, *WHOLE[6:]]
        jobs = [ask(wire, number, params) for number, (wire, params) in enumerate(zip(wires, works, strict=True))]
        at_work = lambda job: any(name == "progress" and body["id"] == job for name, body in wires[0].received)  # noqa: E731
        for number in (6, 7):
            wires[0].until(lambda number=number: at_work(jobs[number]), 120)
            assert wires[number].call("cancel", {"id": jobs[number]})["ok"]
        ended = [wire.ended(job, seconds=240) for wire, job in zip(wires, jobs, strict=True)]
        assert [each["state"] for each in ended[6:10]] == ["cancelled", "cancelled", "failed", "failed"]
        assert "not-a-number" in ended[8]["error"]["message"] and "nowhere" in ended[9]["error"]["message"]
        apart = []
        for number, (wire, params) in enumerate(zip(wires, works, strict=True)):
            if params in WHOLE:
                alone = wire.ended(ask(wire, number, params), seconds=120)
                pairs = zip(pictures(wire, ended[number]), pictures(wire, alone), strict=True)
                apart += [farthest(one, other) for one, other in pairs]
    assert len(apart) == 13 and max(apart) <= 2 and sorted(apart)[6] == 0, apart
