"""Train the built-in tagger on drawn pictures, score it on others, and write it in the layout of WD14 taggers.

python3 -m plugins.interrogate.training.train FOLDER [--minutes 8] [--seed 1]"""

import argparse
import csv
import dataclasses
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor, nn

from plugins.interrogate.pictures import on_white_square
from plugins.interrogate.training.onnx_file import Node, onnx_bytes
from plugins.stable_diffusion.training.captions import noun
from plugins.stable_diffusion.training.drawing import COLOURS, SHAPES, Scene, Thing, draw, random_scene

SIDE = 48  # pixels of a picture that the network sees
WIDTHS = (16, 32, 64, 96, 96)
STYLES = {"outline": "outlined", "striped": "striped", "dotted": "dotted"}
SIZES = [(64, 64)] * 6 + [(96, 64), (64, 96), (80, 64)]
BATCH, FRESH, POOL = 64, 4, 16_000  # pictures a step; new ones a step; kept, to be seen again


def tags() -> list[str]:
    """All that the network can say, in the order of its outputs."""
    shapes = [_shape_tag(Thing(shape, "")) for shape in SHAPES]
    backgrounds = [f"{colour}_background" for colour in COLOURS] + ["gradient_background", "night", "sunset"]
    return [*COLOURS, *shapes, *backgrounds, *STYLES.values()]


def tags_of(scene: Scene) -> set[str]:
    kind, *colours = scene.background
    about = {"solid": f"{colours[0]}_background" if colours else "", "gradient": "gradient_background"}
    styles = {STYLES[thing.style] for thing in scene.things if thing.style in STYLES}
    things = {tag for thing in scene.things for tag in (thing.colour, _shape_tag(thing))}
    return things | {about.get(kind, kind)} | styles


def _shape_tag(thing: Thing) -> str:
    return noun(thing).replace(" ", "_")


def example(rng: random.Random) -> tuple[np.ndarray, set[str]]:
    """A picture (SIDE, SIDE, 3) uint8 RGB as a tagger would be given it, and what is in it."""
    if rng.random() < 0.04:
        return _seen(_nothing(rng), rng), set()
    scene = random_scene(rng)
    if rng.random() < 0.06:
        scene = dataclasses.replace(scene, things=())
    elif len(scene.things) == 1 and rng.random() < 0.7:
        radius = rng.uniform(0.15, 0.45)
        place = {side: rng.uniform(min(radius, 0.5), max(1 - radius, 0.5)) for side in "xy"}
        scene = dataclasses.replace(scene, things=(dataclasses.replace(scene.things[0], radius=radius, **place),))
    return _seen(draw(scene, *rng.choice(SIZES), jitter=rng.choice([0, 8, 16])), rng), tags_of(scene)


def _nothing(rng: random.Random) -> Image.Image:
    """Noise, coarse or fine: a picture of which nothing can be said."""
    side = rng.choice([3, 6, 16, 64])
    noise = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((64, 64), rng.choice([Image.Resampling.BICUBIC, Image.Resampling.NEAREST]))


def _seen(picture: Image.Image, rng: random.Random) -> np.ndarray:
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1)))
    pixels = np.asarray(on_white_square(picture, SIDE), np.int16)
    if rng.random() < 0.5:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0, 8), pixels.shape)
        pixels = pixels + noise.astype(np.int16)
    return pixels.clip(0, 255).astype(np.uint8)


class Tagger(nn.Module):
    """Pictures (B, 3, SIDE, SIDE) RGB in 0..255 to logits (B, tags)."""

    def __init__(self, count: int):
        super().__init__()
        sizes = list(zip((3, *WIDTHS[:-1]), WIDTHS, (2, 2, 2, 2, 1), strict=True))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride, 1, bias=False) for a, b, stride in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in WIDTHS)
        self.head = nn.Linear(2 * WIDTHS[-1], count)
        nn.init.constant_(self.head.bias, -5.0)  # a tag is rare

    def forward(self, x: Tensor) -> Tensor:
        x = x / 127.5 - 1
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


def train(minutes: float, seed: int) -> tuple[Tagger, list[str]]:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    names, rng, started = tags(), random.Random(seed), time.monotonic()
    number = {name: place for place, name in enumerate(names)}
    network = Tagger(len(names)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    pictures, wanted = torch.zeros(POOL, 3, SIDE, SIDE, dtype=torch.uint8), torch.zeros(POOL, len(names))
    filled = step = 0
    while (share := (time.monotonic() - started) / (60 * minutes)) < 1:
        for _ in range(BATCH if filled < 10 * BATCH else FRESH):
            pixels, found = example(rng)
            place = filled % POOL
            pictures[place] = torch.from_numpy(pixels).permute(2, 0, 1)
            wanted[place] = 0
            wanted[place, [number[name] for name in found]] = 1
            filled += 1
        chosen = torch.randint(0, min(filled, POOL), (BATCH,))
        batch = pictures[chosen].float()
        if step % 2:
            batch = batch.flip(3)
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, step / 100) * (0.02 + 0.98 * (1 - share) ** 1.2)
        logits = network(batch.contiguous(memory_format=torch.channels_last))
        loss = F.binary_cross_entropy_with_logits(logits, wanted[chosen], reduction="sum") / BATCH
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        step += 1
        if step % 200 == 0:
            print(f"step {step}, {filled} drawn, {share:.0%} of the time, loss {loss.item():.3f}", flush=True)
    return network.eval(), names


def score(network: Tagger, names: list[str], seed: int, count: int = 1000, threshold: float = 0.35) -> str:
    """How much of what is in new pictures is said, how much of what is said is there, and how often all is right."""
    rng = random.Random(seed)
    said = there = both = right = 0
    for _ in range(count):
        pixels, wanted = example(rng)
        with torch.inference_mode():
            chances = network(torch.from_numpy(pixels).permute(2, 0, 1)[None].float()).sigmoid()[0].tolist()
        found = {name for name, chance in zip(names, chances, strict=True) if chance > threshold}
        said, there, both, right = (
            said + len(found), there + len(wanted), both + len(found & wanted), right + (found == wanted)
        )  # fmt: skip
    return f"precision {both / max(1, said):.3f}, recall {both / there:.3f}, all right {right / count:.3f}"


def export(network: Tagger, names: list[str], folder: Path) -> None:
    """model.onnx and selected_tags.csv, as WD14 taggers have them: (N, H, W, 3) BGR in 0..255 to chances (N, tags)."""
    weights: dict[str, np.ndarray] = {"scale": np.float32([127.5]), "one": np.float32([1])}
    nodes = [
        Node("Transpose", ["input"], "planes", {"perm": [0, 3, 1, 2]}),
        Node("Div", ["planes", "scale"], "scaled"),
        Node("Sub", ["scaled", "one"], "x0"),
    ]
    for place, (conv, norm) in enumerate(zip(network.convs, network.norms, strict=True)):
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        kernel = conv.weight * gain[:, None, None, None]
        kernel = kernel.flip(1) if place == 0 else kernel  # BGR
        weights |= _halves(nodes, f"kernel{place}", kernel)
        weights |= _halves(nodes, f"bias{place}", norm.bias - norm.running_mean * gain)
        attributes = {"strides": list(conv.stride), "pads": [1, 1, 1, 1]}
        nodes.append(Node("Conv", [f"x{place}", f"kernel{place}", f"bias{place}"], f"c{place}", attributes))
        nodes.append(Node("Relu", [f"c{place}"], f"x{place + 1}"))
    last = f"x{len(WIDTHS)}"
    weights |= _halves(nodes, "head", network.head.weight) | _halves(nodes, "head_bias", network.head.bias)
    nodes += [
        Node("GlobalAveragePool", [last], "mean"),
        Node("GlobalMaxPool", [last], "most"),
        Node("Concat", ["mean", "most"], "pooled", {"axis": 1}),
        Node("Flatten", ["pooled"], "features", {"axis": 1}),
        Node("Gemm", ["features", "head", "head_bias"], "logits", {"transB": 1}),
        Node("Sigmoid", ["logits"], "output"),
    ]
    given, result = ("input", ["N", SIDE, SIDE, 3]), ("output", ["N", len(names)])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(onnx_bytes(nodes, weights, given, result))
    with open(folder / "selected_tags.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [("tag_id", "name", "category", "count"), *((place, name, 0, 0) for place, name in enumerate(names))]
        )


def _halves(nodes: list[Node], name: str, tensor: Tensor) -> dict[str, np.ndarray]:
    """Kept in half precision, to halve the file."""
    nodes.append(Node("Cast", [f"{name}_half"], name, {"to": 1}))
    return {f"{name}_half": tensor.detach().contiguous().half().numpy()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    network, names = train(asked.minutes, asked.seed)
    print(score(network, names, asked.seed + 1))
    export(network, names, asked.folder)


if __name__ == "__main__":
    main()
