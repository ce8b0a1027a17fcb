"""Samplers: their names, and what they do to latents."""

import itertools
import math

import greenlet
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, PNDMScheduler, UniPCMultistepScheduler
from k_diffusion import sampling
from k_diffusion.external import DiscreteEpsDDPMDenoiser
from sd.names import SAMPLERS, SCHEDULES, canonical, canonical_schedule
from sd.noise import Noise
from sd.restart import restart_steps
from sd.samplers import BROWNIAN, DEFAULTS, FUNCTIONS, SamplerOptions, evaluations, sample
from sd.schedules import last_part, schedule_sigmas, start


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_our_own_names_mean_themselves_with_and_without_a_schedule_and_in_any_case(sampler):
    assert canonical(sampler) == canonical(sampler.upper()) == (sampler, None)
    for schedule in SCHEDULES:
        assert canonical(f"{sampler} {schedule.title()}") == (sampler, schedule)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "karras")),
        ("DPM++ 2M SDE Heun Exponential", ("DPM++ 2M SDE Heun", "exponential")),
        ("k_euler_a", ("Euler a", None)),
        ("k_dpm_2_a_ka", ("DPM2 a", "karras")),
        ("k_dpmpp_2m_sde_exp", ("DPM++ 2M SDE", "exponential")),
        ("k_dpm_ad", ("DPM adaptive", None)),
        ("euler_ancestral", ("Euler a", None)),
        ("euler_ancestral_normal", ("Euler a", "automatic")),
        ("dpmpp_2s_ancestral", ("DPM++ 2S a", None)),
        ("dpmpp_2m_karras", ("DPM++ 2M", "karras")),
        ("dpmpp_3m_sde_gpu", ("DPM++ 3M SDE", None)),
        ("euler_sgm_uniform", ("Euler", "sgm uniform")),
        ("euler_ddim_uniform", ("Euler", "ddim")),
        ("uni_pc", ("UniPC", None)),
        ("sample_dpmpp_2m", ("DPM++ 2M", None)),
    ],
)
def test_other_programs_names_are_understood(name, meaning):
    assert canonical(name) == meaning


def test_names_of_schedules_are_understood_alone():
    asked = ("Karras", "SGM Uniform", "sgm_uniform", "normal", "ddim_uniform", "Automatic", "Beta")
    given = ("karras", "sgm uniform", "sgm uniform", "automatic", "ddim", "automatic", "beta")
    assert tuple(map(canonical_schedule, asked)) == given


def test_an_unknown_name_is_told_what_is_like_it():
    with pytest.raises(ValueError, match=r"there is no sampler 'Elder'\. Near are Euler, Euler a\."):
        canonical("Elder")
    with pytest.raises(ValueError, match=r"there is no sampler 'karras'\. Use Euler, .*, Restart\."):
        canonical("karras")
    with pytest.raises(ValueError, match=r"there is no schedule 'kerras'\. Near are karras\."):
        canonical_schedule("kerras")


def gaussian(x, sigma):
    """The exact denoiser for data from a unit normal distribution."""
    return x / (1 + sigma.view(-1, 1, 1, 1) ** 2)


BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
LEVELS = DiscreteEpsDDPMDenoiser(None, torch.cumprod(1 - BETAS, 0), quantize=False)
SHAPE = (1, 4, 8, 8)


def run(name, sigmas, seed=5, denoise=gaussian, options=DEFAULTS, callback=lambda step: None, source="CPU"):
    noise = Noise(seed, SHAPE, "cpu", source)
    return sample(name, denoise, noise() * start(name, sigmas), sigmas, noise, callback, options)


def test_every_name_has_a_function():
    assert tuple(FUNCTIONS) == SAMPLERS


@pytest.mark.parametrize("steps", [1, 2, 3, 40])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_ends_well_on_every_schedule_and_part_and_tells_of_each_step(name, steps):
    schedules = SCHEDULES if steps < 4 else ("automatic", "simple")
    for schedule, strength in itertools.product(schedules, (0, 0.5, 1)):
        sigmas = last_part(schedule_sigmas(schedule, LEVELS, steps, name), strength)
        asked, told = [], []
        end = run(
            name,
            sigmas,
            denoise=lambda x, sigma, asked=asked: (asked.append(sigma), gaussian(x, sigma))[1],
            callback=lambda step, told=told: told.append(step["i"]) or step["denoised"].shape == SHAPE,
        )
        assert end.isfinite().all() and end.shape == SHAPE and end.dtype == torch.float32
        assert told == sorted(told) and 0 <= told[0] and told[-1] < len(sigmas) - 1
        if name == "DPM adaptive":
            assert len(asked) / 3 < evaluations(name, sigmas) < len(asked) * 3
        else:
            assert len(asked) == evaluations(name, sigmas)
            assert name == "DPM fast" or told == list(range(len(sigmas) - 1))


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_to_no_noise_is_what_the_denoiser_says(name):
    sigmas = schedule_sigmas("karras", LEVELS, 1, name)
    x = Noise(5, SHAPE, "cpu")() * start(name, sigmas)
    assert torch.allclose(run(name, sigmas), gaussian(x, sigmas[0]), atol=1e-5)


@pytest.mark.timeout(20)
def test_dpm_adaptive_does_not_search_for_ever_in_what_is_not_a_number():
    with pytest.raises(FloatingPointError, match=r"the model answered with not-a-number"):
        run("DPM adaptive", schedule_sigmas("karras", LEVELS, 5), denoise=lambda x, sigma: x * math.nan)


def ends(sigmas):
    return sigmas[0].item(), sigmas[sigmas > 0][-1].item()


def brownian(x, sigmas):
    return sampling.BrownianTreeNoiseSampler(x, *ends(sigmas)[::-1], seed=[5])


DIRECT = {
    "Euler": sampling.sample_euler,
    "Euler a": sampling.sample_euler_ancestral,
    "Heun": sampling.sample_heun,
    "LMS": sampling.sample_lms,
    "DPM2": sampling.sample_dpm_2,
    "DPM2 a": sampling.sample_dpm_2_ancestral,
    "DPM fast": lambda model, x, sigmas, **options: sampling.sample_dpm_fast(
        model, x, *ends(sigmas)[::-1], n=len(sigmas) - 1, eta=1.0, **options
    ),
    "DPM adaptive": lambda model, x, sigmas, **options: sampling.sample_dpm_adaptive(
        model, x, *ends(sigmas)[::-1], eta=1.0, **options
    ),
    "DPM++ 2S a": sampling.sample_dpmpp_2s_ancestral,
    "DPM++ SDE": lambda model, x, sigmas, **options: sampling.sample_dpmpp_sde(
        model, x, sigmas, noise_sampler=brownian(x, sigmas), **options
    ),
    "DPM++ 2M": sampling.sample_dpmpp_2m,
    "DPM++ 2M SDE": lambda model, x, sigmas, **options: sampling.sample_dpmpp_2m_sde(
        model, x, sigmas, noise_sampler=brownian(x, sigmas), **options
    ),
    "DPM++ 2M SDE Heun": lambda model, x, sigmas, **options: sampling.sample_dpmpp_2m_sde(
        model, x, sigmas, noise_sampler=brownian(x, sigmas), solver_type="heun", **options
    ),
    "DPM++ 3M SDE": lambda model, x, sigmas, **options: sampling.sample_dpmpp_3m_sde(
        model, x, sigmas, noise_sampler=brownian(x, sigmas), **options
    ),
}


@pytest.mark.filterwarnings("ignore:Should have t")  # k-diffusion asks its Brownian tree a hair outside
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
@pytest.mark.parametrize("steps", [2, 3, 20])
@pytest.mark.parametrize("schedule", ["automatic", "karras"])
@pytest.mark.parametrize(("name", "direct"), DIRECT.items())
def test_k_diffusions_samplers_equal_a_direct_call_with_the_same_noise(name, direct, schedule, steps):
    sigmas = schedule_sigmas(schedule, LEVELS, steps, name)
    torch.manual_seed(5)  # k-diffusion's own ancestral noise comes from the global generator
    theirs = direct(gaussian, torch.randn(SHAPE) * sigmas[0], sigmas, disable=True)
    assert torch.equal(run(name, sigmas), theirs)


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM2"])
def test_churn_equals_a_direct_call_and_is_the_images_own(name):
    sigmas = schedule_sigmas("karras", LEVELS, 12, name)
    torch.manual_seed(5)
    churn = {"s_churn": 4.0, "s_tmin": 0.05, "s_tmax": 10.0, "s_noise": 1.003}
    theirs = DIRECT[name](gaussian, torch.randn(SHAPE) * sigmas[0], sigmas, disable=True, **churn)
    torch.manual_seed(6)
    assert torch.equal(run(name, sigmas, options=SamplerOptions(**churn)), theirs)
    assert not torch.equal(run(name, sigmas), theirs)


@pytest.mark.parametrize("source", ["CPU", "NV"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_seed_twice_is_the_same_and_leaves_the_global_generator_alone(name, source):
    sigmas, options = schedule_sigmas("karras", LEVELS, 20, name), SamplerOptions(eta=0.7, s_churn=5.0)
    before = torch.get_rng_state()
    first, again, other = (run(name, sigmas, seed, options=options, source=source) for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_that_are_sampled_by_turns_are_what_they_are_alone():
    options = SamplerOptions(s_churn=5.0)
    runs = [(name, schedule_sigmas("karras", LEVELS, 12, name), seed) for name in SAMPLERS for seed in (1, 2)]
    alone = [run(*one, options=options) for one in runs]
    hub = greenlet.getcurrent()

    def by_turns(x, sigma):
        hub.switch()
        return gaussian(x, sigma)

    routines = [greenlet.greenlet(lambda one=one: run(*one, denoise=by_turns, options=options)) for one in runs]
    ends = [None] * len(runs)
    while not all(routine.dead for routine in routines):
        for i, routine in enumerate(routines):
            if not routine.dead:
                ends[i] = routine.switch()
    assert all(torch.equal(end, wanted) for end, wanted in zip(ends, alone, strict=True))


def test_options_reach_the_samplers_that_know_them_and_only_these():
    sigmas = schedule_sigmas("karras", LEVELS, 10)
    plain = {name: run(name, sigmas) for name in SAMPLERS}

    def changed(**options):
        return {
            name
            for name in SAMPLERS
            if not torch.equal(run(name, sigmas, options=SamplerOptions(**options)), plain[name])
        }

    ancestral = {"Euler a", "DPM2 a", "DPM fast", "DPM adaptive", "DPM++ 2S a", *BROWNIAN}
    assert changed(eta=0.5) == ancestral | {"DDIM"}
    assert changed(eta=1.0) == {"DDIM"} and changed(eta=0.0) == ancestral
    assert changed(s_churn=3.0) == {"Euler", "Heun", "DPM2"}
    assert changed(s_churn=3.0, s_tmin=100.0) == changed(s_tmax=0.0) == set()
    assert changed(s_noise=1.1) == ancestral | {"LCM"}  # 10 steps restart nothing


def test_s_tmax_0_is_no_bound():
    sigmas = schedule_sigmas("karras", LEVELS, 10)
    bounds = (0.0, math.inf, 1.0)
    unbound, infinite, low = (run("Euler", sigmas, options=SamplerOptions(s_churn=3.0, s_tmax=b)) for b in bounds)
    assert torch.equal(unbound, infinite) and not torch.equal(unbound, low)


@pytest.mark.parametrize(("steps", "restarts", "length"), [(19, 0, 0), (20, 1, 9), (35, 1, 9), (36, 2, 9), (50, 2, 12)])
def test_restart_goes_back_from_near_a_tenth_to_near_two(steps, restarts, length):
    pairs = restart_steps(schedule_sigmas("karras", LEVELS, steps))
    assert len(pairs) == steps and pairs[-1][1] == 0
    jumps = [i for i in range(1, steps) if pairs[i][0] > pairs[i - 1][1]]
    assert len(jumps) == restarts
    for i in jumps:
        assert 0.05 < pairs[i - 1][1] < 0.2 and 1.2 < pairs[i][0] < 3.2
        assert pairs[i + length - 1][1].item() == pytest.approx(pairs[i - 1][1].item(), rel=1e-4)


def test_restart_on_little_noise_goes_straight_through():
    sigmas = torch.linspace(0.1, 0, 31)
    assert [pair[0] for pair in restart_steps(sigmas)] == list(sigmas[:-1])


def diffusers_end(scheduler, steps, noisy=False, **options):
    """The latents at the end of a scheduler of diffusers, on the Gaussian, with the noise of seed 5."""
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    options |= {"generator": generator} if noisy else {}
    for t in scheduler.timesteps:
        alpha = scheduler.alphas_cumprod[int(t)]
        variance_preserving = scheduler.scale_model_input(x, t)
        eps = (1 - alpha) ** 0.5 * variance_preserving  # (x - alpha^0.5 D) / (1 - alpha)^0.5 for the Gaussian's D
        x = scheduler.step(eps, t, x, **options).prev_sample
    return x


MODEL = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LEADING = MODEL | {"timestep_spacing": "leading", "steps_offset": 1}
NUMPY = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # of diffusers with NumPy 2


@pytest.mark.parametrize("steps", [2, 7, 20, 50])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_equals_diffusers(steps, eta):
    theirs = diffusers_end(DDIMScheduler(**LEADING, clip_sample=False), steps, noisy=True, eta=eta)
    ours = run("DDIM", schedule_sigmas("automatic", LEVELS, steps, "DDIM"), options=SamplerOptions(eta=eta))
    assert torch.allclose(ours, theirs, atol=1e-5)


@NUMPY
@pytest.mark.parametrize("steps", [2, 7, 20, 50])
def test_euler_equals_diffusers(steps):
    theirs = diffusers_end(EulerDiscreteScheduler(**LEADING), steps)
    sigmas = schedule_sigmas(
        "ddim", LEVELS, steps
    )  # of whole timesteps: between them, diffusers interpolates otherwise
    noise = Noise(5, SHAPE, "cpu")
    ours = sample("Euler", gaussian, noise() * (1 + sigmas[0] ** 2) ** 0.5, sigmas, noise, lambda step: None)
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 20, 50])
def test_plms_equals_diffusers(steps):
    theirs = diffusers_end(PNDMScheduler(**LEADING, skip_prk_steps=True, set_alpha_to_one=True), steps)
    ours = run("PLMS", schedule_sigmas("automatic", LEVELS, steps, "PLMS"))
    assert torch.allclose(ours, theirs, atol=1e-4)


@NUMPY
@pytest.mark.parametrize("steps", [2, 3, 4, 7, 20, 50])
def test_unipc_equals_diffusers(steps):
    """On diffusers' levels, which are a little others, and down to the model's smallest level: to 0, theirs is NaN."""
    scheduler = UniPCMultistepScheduler(**LEADING, solver_order=3, solver_type="bh1", final_sigmas_type="sigma_min")
    theirs = diffusers_end(scheduler, steps)
    ours = run("UniPC", scheduler.sigmas)
    assert torch.allclose(ours / (1 + scheduler.sigmas[-1] ** 2) ** 0.5, theirs, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 50])
def test_lcm_equals_diffusers(steps):
    """But for the model's timestep conditioning, c_skip, which is at most 0.00001 here."""
    theirs = diffusers_end(LCMScheduler(**MODEL, set_alpha_to_one=True, clip_sample=False), steps, noisy=True)
    ours = run("LCM", schedule_sigmas("automatic", LEVELS, steps, "LCM"))
    assert torch.allclose(ours, theirs, atol=1e-4)
