"""The random numbers of an image against torch, against NVIDIA's, and against A1111's rules for variations."""

import math

import pytest
import torch
from sd.noise import Noise, centred, slerp
from sd.philox import Philox

SHAPE = (1, 4, 8, 8)


def torchs(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_noise_is_that_of_the_seed_and_goes_on():
    noise = Noise(3, SHAPE, "cpu")
    first, second = torchs(3, SHAPE, SHAPE)
    assert torch.equal(noise(), first)
    assert torch.equal(noise("sigma", "sigma_next"), second)


def test_the_gpu_source_draws_on_the_device_which_may_be_a_cpu():
    assert torch.equal(Noise(3, SHAPE, "cpu", source="GPU")(), Noise(3, SHAPE, "cpu")())


@pytest.mark.parametrize(
    ("seed", "calls"),
    [
        (0, [[-0.92466241, -0.42534396, -2.6438458, 0.14518388, -0.12086651, -0.57972568], [0.18082589, -0.55226272]]),
        (1, [[-0.29627782, 2.67644811, -0.1408464, -0.84409505]]),
        (42, [[0.19401887, 2.16137385, -0.17205095, 0.849059], [0.13913749, -0.10821616]]),
    ],
)
def test_the_nv_source_has_the_numbers_of_an_nvidia_card(seed, calls):
    philox = Philox(seed)
    for numbers in calls:
        assert philox.normal((len(numbers),)).tolist() == pytest.approx(numbers, abs=2e-6)


def slow_philox(seed, call, index):
    """Salmon et al. (2011), section 3.3, one number at a time with Python's integers."""
    c0, c1, c2, c3 = call, 0, index, 0
    k0, k1 = seed % 2**32, seed // 2**32
    for _ in range(10):
        high0, low0 = divmod(c0 * 0xD2511F53, 2**32)
        high1, low1 = divmod(c2 * 0xCD9E8D57, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return math.sqrt(-2 * math.log((c0 + 0.5) / 2**32)) * math.sin(math.tau * (c1 + 0.5) / 2**32)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**63 + 12345])
def test_the_nv_source_is_philox_also_with_seeds_of_64_bits(seed):
    noise = Noise(seed, (1, 2, 3, 4), "cpu", source="NV")
    for call in range(2):
        wanted = [slow_philox(seed, call, index) for index in range(24)]
        given = noise()
        assert given.dtype == torch.float32 and given.shape == (1, 2, 3, 4)
        assert given.flatten().tolist() == pytest.approx(wanted, abs=2e-6)


@pytest.mark.parametrize("source", ["CPU", "GPU", "NV"])
def test_noise_is_normal_and_another_seed_is_other_noise(source):
    noise = Noise(1, (1, 4, 64, 64), "cpu", source=source)()
    assert noise.mean().item() == pytest.approx(0, abs=0.03) and noise.std().item() == pytest.approx(1, abs=0.03)
    other = Noise(2, (1, 4, 64, 64), "cpu", source=source)()
    assert abs((noise * other).mean().item()) < 0.03


@pytest.mark.parametrize("source", ["CPU", "NV"])
def test_a_variation_goes_from_one_seed_to_the_other_on_an_arc(source):
    def vary(strength):
        return Noise(1, (1, 4, 64, 64), "cpu", source, variation=(2, strength))()

    one, other = (Noise(seed, (1, 4, 64, 64), "cpu", source)() for seed in (1, 2))
    assert torch.equal(vary(0), one)
    assert torch.allclose(vary(1.0), other, atol=1e-5)
    distances = [(vary(strength) - one).norm().item() for strength in (0, 0.05, 0.1, 0.3, 0.6, 1)]
    assert distances == sorted(set(distances))
    assert vary(0.5).std().item() == pytest.approx(1, abs=0.03)


def test_a_variation_mixes_each_column_of_latents_as_a1111_does():
    low, high = torchs(5, (4, 6, 3), (4, 6, 3))
    given = slerp(0.3, low, high)
    for channel in range(4):
        for column in range(3):
            a, b = low[channel, :, column], high[channel, :, column]
            angle = math.acos((a @ b / a.norm() / b.norm()).item())
            wanted = (math.sin(0.7 * angle) * a + math.sin(0.3 * angle) * b) / math.sin(angle)
            assert torch.allclose(given[channel, :, column], wanted, atol=1e-4)


def test_a_variation_of_nearly_the_same_noise_is_mixed_the_other_way_round_as_in_a1111():
    (low,) = torchs(5, (4, 8, 8))
    assert torch.allclose(slerp(0.25, low, low * 3), 0.25 * low + 0.75 * low * 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (2, 1)])
def test_a_variation_of_the_smallest_latents_is_finite(size):
    for seed in range(20):
        for strength in (0.01, 0.5, 1):
            assert Noise(seed, (1, 4, *size), "cpu", variation=(seed + 1, strength))().isfinite().all()


def test_later_noise_is_the_same_with_a_variation_and_without():
    varied, plain = Noise(1, SHAPE, "cpu", variation=(2, 0.5)), Noise(1, SHAPE, "cpu")
    assert not torch.equal(varied(), plain())
    assert torch.equal(varied(), plain())


@pytest.mark.parametrize(
    ("small", "into", "of"),
    [
        ((4, 6), (slice(2, 6), slice(1, 7)), (slice(None), slice(None))),  # smaller both ways
        ((12, 10), (slice(None), slice(None)), (slice(2, 10), slice(1, 9))),  # larger both ways
        ((4, 12), (slice(2, 6), slice(None)), (slice(None), slice(2, 10))),  # higher than wide
        ((8, 8), (slice(None), slice(None)), (slice(None), slice(None))),
    ],
)
def test_the_noise_of_another_size_is_in_the_middle_of_the_picture(small, into, of):
    noise = Noise(1, SHAPE, "cpu", resize_from=small)
    wanted, second = torchs(1, SHAPE, SHAPE)
    (other,) = torchs(1, (1, 4, *small))
    wanted[:, :, into[0], into[1]] = other[:, :, of[0], of[1]]
    assert torch.equal(noise(), wanted)
    assert torch.equal(noise(), second)


def test_noise_that_is_an_odd_number_larger_is_cut_as_a1111_does():
    canvas = centred(torch.ones(1, 1, 11, 8), torch.zeros(1, 1, 8, 8))
    assert canvas[0, 0, :, 0].tolist() == [1, 1, 1, 1, 1, 1, 1, 0]


def test_ensd_is_the_seed_of_all_noise_but_the_first():
    noise, plain, shifted = (
        Noise(7, SHAPE, "cpu", ensd=31337),
        Noise(7, SHAPE, "cpu"),
        Noise(7 + 31337, SHAPE, "cpu"),
    )
    assert torch.equal(noise(), plain())
    assert torch.equal(noise(), shifted()) and torch.equal(noise(), shifted())


@pytest.mark.parametrize("source", ["CPU", "GPU", "NV"])
def test_a_brownian_motion_is_of_the_seed_and_not_of_the_order_of_steps(source):
    levels = torch.tensor([10.0, 3.0, 1.0, 0.0])
    motion, again, other = (Noise(seed, (1, 4, 32, 32), "cpu", source).brownian(levels) for seed in (1, 1, 2))
    down, further = motion(levels[0], levels[1]), motion(levels[1], levels[2])
    assert torch.equal(again(levels[1], levels[2]), further) and torch.equal(again(levels[0], levels[1]), down)
    assert down.shape == (1, 4, 32, 32) and down.std().item() == pytest.approx(1, abs=0.05)
    assert not torch.allclose(other(levels[0], levels[1]), down)
    whole = motion(levels[0], levels[2]) * 9**0.5
    assert torch.allclose(whole, down * 7**0.5 + further * 2**0.5, atol=1e-4)


def test_the_sources_of_brownian_motions_differ():
    levels = torch.tensor([10.0, 1.0, 0.0])
    cpu, nv = (Noise(1, SHAPE, "cpu", source).brownian(levels)(*levels[:2]) for source in ("CPU", "NV"))
    assert not torch.allclose(cpu, nv)


def test_a_brownian_motion_forgives_rounding_at_its_ends():
    levels = torch.tensor([10.0, 1.0, 0.0])
    motion = Noise(1, SHAPE, "cpu").brownian(levels)
    outside = motion(levels[0] * 1.000001, levels[1] * 0.999999)
    assert torch.allclose(outside, motion(levels[0], levels[1]), atol=1e-5)
