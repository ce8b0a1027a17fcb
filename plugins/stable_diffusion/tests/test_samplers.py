"""Samplers: their names, and what they do to latents."""

import pytest
from sd.names import SAMPLERS, SCHEDULES, canonical, canonical_schedule


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
