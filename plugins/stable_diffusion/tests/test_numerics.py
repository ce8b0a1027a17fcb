"""Schedules, orders of convergence and the denoiser against mathematics."""

import itertools
import math

import pytest
import torch
from k_diffusion import sampling
from k_diffusion.external import DiscreteEpsDDPMDenoiser
from scipy.stats import beta
from sd.conditioning import Condition
from sd.denoiser import Ask, Denoiser
from sd.names import SAMPLERS, SCHEDULES
from sd.noise import Noise
from sd.placement import Placement
from sd.samplers import SamplerOptions, sample
from sd.schedules import LEAVES_ONE_OUT, last_part, last_part_of, schedule_sigmas, start

from core.plugin import InvalidParams


def gaussian(x, sigma):
    """The exact denoiser for data from a unit normal distribution."""
    return x / (1 + sigma.view(-1, 1, 1, 1) ** 2)


BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
ALPHAS = torch.cumprod(1 - BETAS, 0)
LEVELS = DiscreteEpsDDPMDenoiser(None, ALPHAS, quantize=False)


def level(t):
    """The noise of timestep t, for whole ones."""
    return math.sqrt((1 - ALPHAS[t].item()) / ALPHAS[t].item())


LOW, HIGH = level(0), level(999)


def error_on_gaussian(name, steps):
    """Distance from the exact solution of the probability flow, x * sqrt((1 + s1^2) / (1 + s0^2)), s 10 to 0.1."""
    sigmas = torch.linspace(math.log(10), math.log(0.1), steps + 1, dtype=torch.float64).exp()
    x = torch.full((1, 1, 1, 1), 10.0, dtype=torch.float64)
    noise = Noise(0, x.shape, "cpu")
    end = sample(name, gaussian, x, sigmas, noise, lambda step: None, SamplerOptions(eta=0))
    return abs(end - x * ((1 + sigmas[-1] ** 2) / (1 + sigmas[0] ** 2)) ** 0.5).item()


ORDERS = {
    1: ("Euler", "DDIM"),
    2: ("Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ 2M SDE", "DPM++ 3M SDE"),
}


@pytest.mark.parametrize(("name", "order"), [(name, order) for order, names in ORDERS.items() for name in names])
def test_the_error_falls_with_the_order_of_the_sampler(name, order):
    errors = [error_on_gaussian(name, steps) for steps in (80, 160, 320)]
    measured = [math.log2(coarse / fine) for coarse, fine in zip(errors, errors[1:], strict=False)]
    assert measured == pytest.approx([order, order], abs=0.15)


@pytest.mark.parametrize("name", ["LMS", "PLMS", "UniPC"])
def test_samplers_with_several_orders_have_at_least_that_of_their_first_steps(name):
    errors = [error_on_gaussian(name, steps) for steps in (80, 160, 320)]
    assert all(coarse / fine > 2**1.95 for coarse, fine in zip(errors, errors[1:], strict=False))


STOCHASTIC = ("Euler a", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE", "Restart")


@pytest.mark.parametrize("name", STOCHASTIC)
def test_samplers_with_fresh_noise_give_the_variance_of_the_data(name):
    sigmas = sampling.get_sigmas_karras(60, 0.03, 14.6)
    noise = Noise(0, (1, 4, 32, 32), "cpu")
    end = sample(name, gaussian, noise() * sigmas[0], sigmas, noise, lambda step: None)
    assert end.std().item() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 150, 998])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_fall_to_zero_for_every_sampler(name, steps):
    for sampler in SAMPLERS:
        sigmas = schedule_sigmas(name, LEVELS, steps, sampler)
        assert sigmas.shape == (steps + 1,) and sigmas.dtype == torch.float32
        assert (sigmas.diff() < 0).all() and sigmas[-1] == 0
        if name != "ddim" and sampler not in ("DDIM", "PLMS", "UniPC"):
            assert sigmas[0].item() == pytest.approx(HIGH, rel=1e-3)


def test_one_step_alone_begins_at_the_largest_level():
    for name, sampler in itertools.product(SCHEDULES, set(SAMPLERS) - LEAVES_ONE_OUT):
        assert schedule_sigmas(name, LEVELS, 1, sampler)[0].item() == pytest.approx(HIGH, rel=1e-3)


def karras(i, rho=7, low=LOW, high=HIGH):
    return (high ** (1 / rho) + i / 9 * (low ** (1 / rho) - high ** (1 / rho))) ** rho


def between(t):
    """The noise of a timestep between two."""
    down = math.floor(t)
    return math.exp((1 - t + down) * math.log(level(down)) + (t - down) * math.log(level(min(down + 1, 999))))


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("automatic", {}, lambda i: between(999 - 111 * i)),
        ("automatic", {"sampler": "DDIM"}, lambda i: level(901 - 100 * i)),
        ("automatic", {"sampler": "PLMS"}, lambda i: level(901 - 100 * i)),
        ("automatic", {"sampler": "UniPC"}, lambda i: level(901 - 100 * i)),
        ("automatic", {"sampler": "LCM"}, lambda i: level(999 - 100 * i)),
        ("ddim", {}, lambda i: level(901 - 100 * i)),
        ("karras", {}, karras),
        ("karras", {"rho": 5}, lambda i: karras(i, rho=5)),
        ("karras", {"sigma_min": 0.1, "sigma_max": 10}, lambda i: karras(i, low=0.1, high=10)),
        ("exponential", {}, lambda i: HIGH * (LOW / HIGH) ** (i / 9)),
        ("exponential", {"sigma_min": 0.1, "sigma_max": 10}, lambda i: 10 * 0.01 ** (i / 9)),
        ("polyexponential", {}, lambda i: HIGH * (LOW / HIGH) ** (i / 9)),
        ("polyexponential", {"rho": 2}, lambda i: LOW * (HIGH / LOW) ** ((1 - i / 9) ** 2)),
        ("sgm uniform", {}, lambda i: between(999 - 99.9 * i)),
        ("simple", {}, lambda i: level(999 - 100 * i)),
        ("beta", {}, lambda i: LOW + beta(0.6, 0.6).ppf(1 - i / 9) * (HIGH - LOW)),
    ],
)
def test_a_schedule_is_what_its_formula_says(name, options, wanted):
    sigmas = schedule_sigmas(name, LEVELS, 10, **options)
    assert sigmas[:-1].tolist() == pytest.approx([wanted(i) for i in range(10)], rel=1e-4)


def test_the_simple_schedule_rounds_as_comfyui_does():
    assert schedule_sigmas("simple", LEVELS, 38)[19].item() == pytest.approx(level(1000 - 1 - int(19 * (1000 / 38))))
    assert int(19 * (1000 / 38)) == 499


@pytest.mark.parametrize("sampler", ["DPM2", "DPM2 a", "DPM++ 3M SDE"])
def test_some_samplers_leave_out_the_level_before_zero_as_in_a1111(sampler):
    whole = schedule_sigmas("karras", LEVELS, 11)
    assert torch.equal(schedule_sigmas("karras", LEVELS, 10, sampler), torch.cat([whole[:10], whole[11:]]))


def test_dpm_fast_and_adaptive_leave_no_visible_noise_whatever_the_schedule():
    for sampler in ("DPM fast", "DPM adaptive"):
        for name in SCHEDULES:
            assert schedule_sigmas(name, LEVELS, 20, sampler)[-2].item() == pytest.approx(LOW, rel=1e-4)
            assert (schedule_sigmas(name, LEVELS, 20, sampler, sigma_min=5).diff() < 0).all()


def test_a_schedule_that_does_not_fall_is_refused():
    with pytest.raises(InvalidParams, match=r"sigma_min must be below sigma_max, got 20 and 14\.6146\.") as caught:
        schedule_sigmas("karras", LEVELS, 10, sigma_min=20)
    assert caught.value.extra["field"] == "sigma_min"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("karras", {"rho": 0.001}),  # overflows
        ("karras", {"rho": 0.01}),  # 0 / 0
        ("karras", {"rho": 1, "sigma_min": 1e-6, "sigma_max": 1000}),  # is 0 before its end
        ("polyexponential", {"rho": 50}),  # the same level twice
        ("sgm uniform", {"sigma_min": 100, "sigma_max": 1000}),
    ],
)
def test_options_of_which_a_picture_would_become_not_a_number_are_refused(name, options):
    with pytest.raises(InvalidParams, match=f"{name} makes no falling noise levels of sigma_min"):
        schedule_sigmas(name, LEVELS, 20, **options)


@pytest.mark.parametrize(("strength", "evaluations"), [(0, 1), (0.01, 1), (0.05, 2), (0.5, 11), (0.75, 16), (1, 20)])
def test_img2img_runs_as_many_steps_as_in_a1111(strength, evaluations):
    sigmas = schedule_sigmas("automatic", LEVELS, 20)
    part = last_part(sigmas, strength)
    assert len(part) - 1 == evaluations
    assert torch.equal(part, sigmas[-evaluations - 1 :])


@pytest.mark.parametrize(
    ("steps", "strength", "total"),
    [(20, 0.5, 40), (20, 0.75, 26), (20, 1, 20), (20, 0.999, 20), (1, 0.4, 2), (150, 1, 150), (20, 0.01, 998)],
)
def test_with_fixed_steps_the_part_has_exactly_these(steps, strength, total):
    for name in SCHEDULES:
        whole = schedule_sigmas(name, LEVELS, total)
        given = last_part_of(lambda n, name=name: schedule_sigmas(name, LEVELS, n), steps, strength)
        assert given[0] == total and torch.equal(given[1], whole[-steps - 1 :])


def test_with_fixed_steps_strength_0_is_the_end_of_the_finest_schedule():
    for sampler in SAMPLERS:
        _, part = last_part_of(lambda n, sampler=sampler: schedule_sigmas("automatic", LEVELS, n, sampler), 20, 0)
        assert len(part) == 21 and (part.diff() < 0).all() and part[0] < 0.25


def test_txt2img_begins_at_pure_noise_for_the_samplers_for_timesteps_and_as_k_diffusion_for_the_others():
    sigmas = torch.tensor([3.0, 0.0])
    assert [start(name, sigmas).item() for name in ("Euler", "DPM++ 2M SDE", "Restart")] == [3, 3, 3]
    assert [start(name, sigmas).item() for name in ("DDIM", "PLMS", "UniPC", "LCM")] == pytest.approx([10**0.5] * 4)


class ExactUNet:
    """Predicts eps or v exactly for data that is `context` everywhere, so every denoiser must answer with `context`."""

    device, dtype, attn_processors, config = torch.device("cpu"), torch.float32, {}, {}

    def __init__(self, alphas, prediction):
        self.alphas, self.prediction = alphas, prediction

    def __call__(self, x, t, context, added_cond_kwargs):
        alpha = self.alphas[t.round().long()][:, None, None, None]
        x0 = context.mean((1, 2))[:, None, None, None]
        eps = (x - alpha**0.5 * x0) / (1 - alpha) ** 0.5
        self.sample = eps if self.prediction == "epsilon" else alpha**0.5 * eps - (1 - alpha) ** 0.5 * x0
        return self


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_denoiser_undoes_the_noise_for_both_kinds_of_prediction_and_each_context(prediction):
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    denoiser = Denoiser(ExactUNet(alphas, prediction), alphas, prediction, Placement("cpu"))
    lengths = {0.5: 77, 0.25: 154, 1.0: 231}  # tokens of contexts by their value; two do not fit into the third
    conditions = {value: Condition(torch.full((1, tokens, 4), value)) for value, tokens in lengths.items()}
    wanted = [(0.5,), (0.25, 0.5), (1.0, 0.25, 0.5)]
    sigmas = [denoiser.levels.sigmas[at].view(1) for at in (0, 500, 999)]
    asks = [
        Ask(torch.randn(1, 4, 8, 8) * sigma, sigma, [conditions[value] for value in values])
        for sigma, values in zip(sigmas, wanted, strict=True)
    ]
    for answer, values in zip(denoiser.denoise(asks), wanted, strict=True):
        assert answer.shape == (len(values), 4, 8, 8)
        assert torch.allclose(answer, torch.tensor(values)[:, None, None, None], atol=2e-3)


@pytest.mark.parametrize(
    ("tokens", "calls"), [((77, 77), [77]), ((77, 231), [231]), ((154, 231), [462]), ((77, 231, 308), [231, 308])]
)
def test_contexts_of_different_lengths_share_a_call_unless_they_would_become_much_longer(tokens, calls):
    class Remembering(ExactUNet):
        def __call__(self, x, t, context, added_cond_kwargs):
            lengths.append(context.shape[1])
            return super().__call__(x, t, context, added_cond_kwargs)

    lengths, alphas = [], torch.linspace(0.99, 0.01, 1000)
    denoiser = Denoiser(Remembering(alphas, "epsilon"), alphas, "epsilon", Placement("cpu"))
    x, sigma = torch.randn(1, 4, 8, 8), torch.ones(1)
    denoiser.denoise([Ask(x, sigma, [Condition(torch.ones(1, length, 4))]) for length in tokens])
    assert sorted(lengths) == calls
