"""One way of enlarging pictures, in a process of its own, run by the plugin's own Python.

Arguments: "spandrel" (the network called directly, with the whole picture) or "tiles" (the plugin's job, without a
server), the file of weights, device. On stdin a line {"picture": FILE} for each picture to be enlarged; prints the
seconds that this took, from pixels to pixels, and before the first and after the last one the most bytes of memory
that the process had. "random" writes the weights of a Real-ESRGAN with 6 blocks, of random numbers."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy
import torch
from PIL import Image


def main(way, weights, device):
    if way == "random":
        return save_random(weights)
    enlarge = {"spandrel": whole, "tiles": tiled}[way](Path(weights), device)
    print(peak_bytes(device), flush=True)
    for line in sys.stdin:
        image = Image.open(json.loads(line)["picture"])
        image.load()
        started = time.perf_counter()
        enlarge(image)
        print(time.perf_counter() - started, flush=True)
    print(peak_bytes(device), flush=True)


def save_random(weights):
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    torch.manual_seed(0)
    torch.save(RRDBNet(num_blocks=6, scale=4).state_dict(), weights)


def whole(weights, device):
    """One call, one tensor."""
    from spandrel import ModelLoader

    network = ModelLoader(device).load_from_file(weights).eval()
    if device.startswith("cuda") and network.supports_half:  # as the plugin has it
        network.half()

    def enlarge(image):
        with torch.inference_mode():
            pixels = torch.from_numpy(numpy.array(image)).to(device).permute(2, 0, 1)[None].to(network.dtype) / 255
            made = network(pixels)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
            return Image.fromarray(made.cpu().numpy())

    return enlarge


def tiled(weights, device):
    from core.library.models import Models
    from core.plugin import Context
    from plugins.upscale import UpscaleParams
    from plugins.upscale.upscaling import Upscalers, upscaled

    upscalers = Upscalers(device, "auto")
    models = Models(Path("models"), [{"kind": "upscaler", "name": "it", "path": str(weights)}])
    context = Context("job", Path(tempfile.gettempdir(), "upscale"), models, lambda event, body: None)
    params = UpscaleParams(model="it", scale=upscalers.get(weights).scale)
    return lambda image: upscaled(upscalers, image, params, context).value


def peak_bytes(device):
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
