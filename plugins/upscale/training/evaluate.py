"""Score a network on pictures it has not seen: python3 -m plugins.upscale.training.evaluate WEIGHTS [--sheet FILE.png].

PSNR in dB against the picture before it was made small, the mean over the pictures of a kind and over three ways of
making them small; beside it Pillow's bicubic and Lanczos. Photographs are those inside scikit-image: nothing like
them was trained on."""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from .network import SCALE, Compact
from .pictures import KINDS, smaller

WAYS = ("area", "bicubic", "lanczos")
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket", "hubble_deep_field")


def psnr(made: Image.Image, wanted: Image.Image) -> float:
    """In dB, of all pixels and colours; 99 where nothing is different."""
    error = np.square(np.asarray(made, np.float64) - np.asarray(wanted, np.float64)).mean()
    return min(99.0, 10 * np.log10(255**2 / error)) if error else 99.0


def held_out(kind: str, count: int, size: int = 256) -> list[Image.Image]:
    """Drawn with seeds that training does not use."""
    return [KINDS[kind](size, random.Random(f"held out {k}")) for k in range(count)]


def photographs() -> list[Image.Image]:
    """Cut so that a quarter of each side is whole."""
    import skimage.data

    pictures = []
    for name in PHOTOGRAPHS:
        (file,) = Path(skimage.data.__file__).parent.glob(f"{name}.*")
        image = Image.open(file).convert("RGB")
        pictures.append(image.crop((0, 0, image.width // SCALE * SCALE, image.height // SCALE * SCALE)))
    return pictures


@torch.inference_mode()
def enlarge(network: Compact, image: Image.Image) -> Image.Image:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    made = network(pixels)[0].clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(made.permute(1, 2, 0).numpy())


def ways_up(network: Compact, image: Image.Image) -> dict[str, Image.Image]:
    size = (image.width * SCALE, image.height * SCALE)
    return {
        "ours": enlarge(network, image),
        "bicubic": image.resize(size, Image.Resampling.BICUBIC),
        "lanczos": image.resize(size, Image.Resampling.LANCZOS),
    }


def scores(network: Compact, pictures: list[Image.Image], way: str) -> dict[str, float]:
    """Mean PSNR by way of enlarging."""
    found = {}
    for picture in pictures:
        for name, made in ways_up(network, smaller(picture, way)).items():
            found.setdefault(name, []).append(psnr(made, picture))
    return {name: float(np.mean(values)) for name, values in found.items()}


def table(network: Compact, count: int) -> list[str]:
    """Markdown."""
    lines = ["| pictures | made small by | ours | bicubic | Lanczos | gain |", "|---|---|---|---|---|---|"]
    for kind in (*KINDS, "photographs"):
        pictures = photographs() if kind == "photographs" else held_out(kind, count)
        for way in WAYS:
            ours, bicubic, lanczos = scores(network, pictures, way).values()
            numbers = f"{ours:.2f} | {bicubic:.2f} | {lanczos:.2f} | {ours - bicubic:+.2f}"
            lines.append(f"| {kind} ({len(pictures)}) | {way} | {numbers} |")
    return lines


def sheet(network: Compact, file: Path) -> None:
    """A piece of each kind: what was drawn, ours, bicubic."""
    pictures = [*(held_out(kind, 1)[0] for kind in KINDS), *photographs()[:2]]
    pieces = [picture.crop((60, 60, 188, 188)) for picture in pictures]
    page = Image.new("RGB", (3 * 256 + 16, len(pieces) * 264 - 8), "white")
    for row, piece in enumerate(pieces):
        up = ways_up(network, smaller(piece, "area"))
        for column, image in enumerate((piece, up["ours"], up["bicubic"])):
            page.paste(image.resize((256, 256), Image.Resampling.NEAREST), (column * 264, row * 264))
    page.save(file)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--count", type=int, default=20, help="pictures of each drawn kind")
    parser.add_argument("--sheet", type=Path, help="also write pictures to look at, as a PNG")
    options = parser.parse_args()
    network = Compact()
    network.load_state_dict({key: value.float() for key, value in load_file(options.weights).items()})
    print("\n".join(table(network, options.count)))
    if options.sheet:
        sheet(network, options.sheet)


if __name__ == "__main__":
    main()
