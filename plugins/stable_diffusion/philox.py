"""The normal random numbers of an NVIDIA card, computed anywhere: Philox4x32-10 (Salmon et al. 2011) and Box-Muller."""

import math

import numpy as np

MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85  # added to the key after each round
ROUNDS = 10
TURN = float(np.float32(2 * np.pi))  # as the card has it


class Philox:
    """Each call of `normal` gives the next numbers that torch.randn(device="cuda") has for this 64-bit seed.

    As in A1111's source "NV": right for up to as many numbers as the card has threads, which pictures stay below."""

    def __init__(self, seed: int):
        self._key = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
        self._calls = 0

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """float32 of `shape`. Box & Muller (1958): the sine of the pair, as CUDA gives the first number of a thread."""
        first, second = self._uniform(math.prod(shape))
        radius = np.sqrt(-2 * np.log(first))
        return (radius * np.sin(TURN * second)).astype(np.float32).reshape(shape)

    def _uniform(self, count: int) -> list[np.ndarray]:
        """Two numbers in (0, 1) for each index: the counter of number i is (call, 0, i, 0)."""
        zero = np.zeros(count, np.uint64)
        counter = [zero + np.uint64(self._calls), zero, np.arange(count, dtype=np.uint64), zero]
        self._calls += 1
        key = self._key
        for _ in range(ROUNDS):
            counter = _round(counter, key)
            key = tuple(half + step & 0xFFFFFFFF for half, step in zip(key, WEYL, strict=True))
        return [(word + 0.5) / 2**32 for word in counter[:2]]


def _round(counter: list[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Section 3.3: two products of 64 bits, whose high halves are mixed with the others and with the key."""
    products = [counter[0] * MULTIPLIERS[0], counter[2] * MULTIPLIERS[1]]
    high, low = [product >> np.uint64(32) for product in products], [p & np.uint64(0xFFFFFFFF) for p in products]
    return [high[1] ^ counter[1] ^ np.uint64(key[0]), low[1], high[0] ^ counter[3] ^ np.uint64(key[1]), low[0]]
