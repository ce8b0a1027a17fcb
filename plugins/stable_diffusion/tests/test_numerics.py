"""Samplers, schedules, noise and guidance against mathematics."""

import math

import pytest
import torch
from k_diffusion import sampling
from k_diffusion.external import DiscreteEpsDDPMDenoiser
from sd.denoiser import Ask, Denoiser, guide
from sd.noise import Noise
from sd.samplers import SAMPLERS, sample
from sd.schedules import last_part, schedule_sigmas


def gaussian(x, sigma):
    """The exact denoiser for data from a unit normal distribution."""
    return x / (1 + sigma.view(-1, 1, 1, 1) ** 2)


def levels():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return DiscreteEpsDDPMDenoiser(None, torch.cumprod(1 - betas, 0), quantize=False)


def error_on_gaussian(name, steps):
    """Distance from the exact solution of the probability flow, x * sqrt((1 + s1^2) / (1 + s0^2)), s 10 to 0.1."""
    sigmas = torch.linspace(math.log(10), math.log(0.1), steps + 1, dtype=torch.float64).exp()
    x = torch.full((1, 1, 1, 1), 10.0, dtype=torch.float64)
    end = sample(name, gaussian, x, sigmas, None, lambda step: None)
    return abs(end - x * ((1 + sigmas[-1] ** 2) / (1 + sigmas[0] ** 2)) ** 0.5).item()


@pytest.mark.parametrize(("name", "order"), [("Euler", 1), ("DPM++ 2M", 2)])
def test_the_error_falls_with_the_order_of_the_sampler(name, order):
    errors = [error_on_gaussian(name, steps) for steps in (80, 160, 320)]
    measured = [math.log2(coarse / fine) for coarse, fine in zip(errors, errors[1:], strict=False)]
    assert measured == pytest.approx([order, order], abs=0.15)


def test_euler_a_gives_the_variance_of_the_data():
    sigmas = sampling.get_sigmas_karras(200, 0.03, 14.6)
    noise = Noise(0, (1, 4, 64, 64), "cpu")
    end = sample("Euler a", gaussian, noise() * sigmas[0], sigmas, noise, lambda step: None)
    assert end.std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("schedule", ["automatic", "karras"])
@pytest.mark.parametrize(("name", "direct"), SAMPLERS.items())
def test_every_sampler_equals_a_direct_call_of_k_diffusion(name, direct, schedule, steps):
    sigmas = schedule_sigmas(schedule, levels(), steps)
    noise = Noise(5, (1, 4, 8, 8), "cpu")
    told = []
    ours = sample(name, gaussian, noise() * sigmas[0], sigmas, noise, lambda step: told.append(step["i"]))
    torch.manual_seed(5)  # k-diffusion's own ancestral noise comes from the global generator
    theirs = direct(gaussian, torch.randn(1, 4, 8, 8) * sigmas[0], sigmas, disable=True)
    assert torch.equal(ours, theirs) and ours.isfinite().all()
    assert told == list(range(steps))


@pytest.mark.parametrize("steps", [1, 2, 20, 150])
def test_schedules_fall_from_the_largest_level_of_the_model_to_zero(steps):
    for name in ("automatic", "karras"):
        sigmas = schedule_sigmas(name, levels(), steps)
        assert sigmas.shape == (steps + 1,) and sigmas.dtype == torch.float32
        assert (sigmas.diff() < 0).all() and sigmas[-1] == 0
        assert sigmas[0].item() == pytest.approx(14.6146, abs=1e-3)


def test_the_karras_schedule_is_the_papers():
    sigmas = schedule_sigmas("karras", levels(), 10)
    low, high = 0.029168 ** (1 / 7), 14.614647 ** (1 / 7)
    assert sigmas[:-1].tolist() == pytest.approx([(high + i / 9 * (low - high)) ** 7 for i in range(10)], rel=1e-4)


@pytest.mark.parametrize(("strength", "evaluations"), [(0, 1), (0.01, 1), (0.05, 2), (0.5, 11), (0.75, 16), (1, 20)])
def test_img2img_runs_as_many_steps_as_in_a1111(strength, evaluations):
    sigmas = schedule_sigmas("automatic", levels(), 20)
    part = last_part(sigmas, strength)
    assert len(part) - 1 == evaluations
    assert torch.equal(part, sigmas[-evaluations - 1 :])


def test_noise_is_that_of_the_seed_and_goes_on():
    noise = Noise(3, (1, 4, 8, 8), "cpu")
    torch.manual_seed(3)
    assert torch.equal(noise(), torch.randn(1, 4, 8, 8))
    assert torch.equal(noise("sigma", "sigma_next"), torch.randn(1, 4, 8, 8))


def test_guidance_leaves_out_rows_without_weight():
    cond, uncond = torch.ones(1, 77, 4), torch.zeros(1, 77, 4)
    assert [(weight, context.mean().item()) for weight, context in guide(cond, uncond, 7)] == [(7, 1), (-6, 0)]
    assert [(weight, context.mean().item()) for weight, context in guide(cond, uncond, 1)] == [(1, 1)]
    assert [(weight, context.mean().item()) for weight, context in guide(cond, uncond, 0)] == [(1, 0)]


class ExactUNet:
    """Predicts eps or v exactly for data that is `context` everywhere, so every denoiser must answer with `context`."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, alphas, prediction):
        self.alphas, self.prediction = alphas, prediction

    def __call__(self, x, t, context):
        alpha = self.alphas[t.round().long()][:, None, None, None]
        x0 = context.mean((1, 2))[:, None, None, None]
        eps = (x - alpha**0.5 * x0) / (1 - alpha) ** 0.5
        self.sample = eps if self.prediction == "epsilon" else alpha**0.5 * eps - (1 - alpha) ** 0.5 * x0
        return self


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_denoiser_undoes_the_noise_for_both_kinds_of_prediction_and_guides_each_image(prediction):
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    denoiser = Denoiser(ExactUNet(alphas, prediction), alphas, prediction)
    cond, uncond = torch.full((1, 77, 4), 0.5), torch.full((1, 77, 4), 0.25)
    sigmas = [denoiser.levels.sigmas[at].view(1) for at in (0, 500, 999)]
    asks = [
        Ask(torch.randn(1, 4, 8, 8) * s, s, guide(cond, uncond, cfg)) for s, cfg in zip(sigmas, (1, 3, 0), strict=True)
    ]
    for answer, wanted in zip(denoiser.denoise(asks), (0.5, 1.0, 0.25), strict=True):
        assert answer.shape == (1, 4, 8, 8)
        assert torch.allclose(answer, torch.tensor(wanted), atol=2e-3)
