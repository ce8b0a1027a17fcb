"""Weights as they are published, but for their numbers: the same names, shapes and nesting."""

import functools
import gzip
from pathlib import Path

import torch

KEYS = Path(__file__).parent / "data" / "published_keys.txt.gz"
WRAPPED = {"GFPGANv1.4.pth": "params_ema", "codeformer.pth": "params_ema", "RestoreFormer.pth": "params"}
LONGEST = 50_000  # different numbers: larger tensors repeat them, so that files are small


@functools.cache
def shapes():
    """File -> name of a tensor -> its shape."""
    files = {}
    for line in gzip.decompress(KEYS.read_bytes()).decode().splitlines():
        if line.startswith("#"):
            tensors = files[line[2:]] = {}
        else:
            name, *sides = line.split()
            tensors[name] = tuple(map(int, sides))
    return files


def write(path, file, seed=0):
    """Random weights under the names of a published file, at `path`."""
    generator = torch.Generator().manual_seed(seed)
    pools = {}

    def tensor(name, shape):
        if name.endswith("num_batches_tracked"):
            return torch.tensor(1)
        if not shape:
            return torch.ones(())
        if name.endswith("running_var"):
            return torch.ones(shape)
        if len(shape) < 2:
            return torch.full(shape, 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.01)
        size, fan_in = torch.Size(shape).numel(), torch.Size(shape[1:]).numel()
        pool = pools.setdefault(fan_in, torch.randn(LONGEST, generator=generator) * 0.5 * fan_in**-0.5)
        if size <= len(pool):
            return pool[:size].view(shape)
        strides = [max(1, len(pool) // (2 * len(shape) * side)) for side in shape]
        return pool.as_strided(shape, strides)

    tensors = {name: tensor(name, shape) for name, shape in shapes()[file].items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({WRAPPED[file]: tensors} if file in WRAPPED else tensors, path)
    return path


def tiny_restoreformer(path, seed=0, **changes):
    """RestoreFormer with few channels, which spandrel reads from the shapes."""
    from spandrel.architectures.RestoreFormer import RestoreFormer

    options = {
        "n_embed": 16,
        "embed_dim": 32,
        "z_channels": 32,
        "ch": 32,
        "ch_mult": (1, 1, 1, 1, 1, 1),
        "head_size": 8,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = RestoreFormer(**options | {"num_res_blocks": 1, "double_z": False} | changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params": network.state_dict()}, path)
    return path
