"""How estimates add up, against the formulas."""

import pytest
import torch
from sd.conditioning import Condition
from sd.guidance import Conditions, Evaluation, current, rescaled


def condition(value):
    return Condition(torch.full((1, 77, 4), float(value)))


def terms_of(parts, negative=0, scale=7.0, **more):
    conditions = Conditions([(weight, [(99, condition(v))]) for v, weight in parts], [(99, condition(negative))])
    return [(term.weight, term.condition.context.mean().item()) for term in conditions.terms(0, scale, **more)]


def test_guidance_is_the_sum_over_the_parts():
    assert terms_of([(1, 1.0)]) == [(7, 1), (-6, 0)]
    assert terms_of([(1, 1.5), (2, 1.0), (3, -0.5)], scale=2) == [(3, 1), (2, 2), (-1, 3), (-3, 0)]


def test_terms_without_weight_are_left_out():
    assert terms_of([(1, 1.0)], scale=1) == [(1, 1)]
    assert terms_of([(1, 1.0)], scale=0) == [(1, 0)]
    assert terms_of([(1, 1.0), (2, 0.0)]) == [(7, 1), (-6, 0)]
    assert terms_of([(1, 1.0)], scale=0, whole=True) == [(0, 1), (1, 0)]


def test_a_schedule_holds_until_and_including_its_step_and_its_end_stays():
    scheduled = [(2, condition(1)), (5, condition(2))]
    assert [current(scheduled, k).context.mean().item() for k in (0, 2, 3, 5, 6)] == [1, 1, 2, 2, 2]


def test_estimates_are_combined_as_classifier_free_guidance():
    estimates = torch.randn(3, 4, 8, 8)
    conditions = Conditions([(1, [(99, condition(1))]), (2, [(99, condition(2))])], [(99, condition(0))])
    evaluation = Evaluation(conditions.terms(0, 7.0), estimates, estimates[:1], torch.ones(1), 7.0, 0, {})
    one, two, uncond = estimates
    assert torch.allclose(evaluation.guided[0], uncond + 7 * (one - uncond) + 14 * (two - uncond), atol=1e-4)
    assert torch.allclose(evaluation.plain[0], uncond + (one - uncond) + 2 * (two - uncond), atol=1e-5)


def test_rescaled_guidance_has_the_contrast_of_the_prompt_alone_in_v():
    torch.manual_seed(0)
    x, cond, uncond = torch.randn(1, 4, 8, 8) * 5, *torch.randn(2, 4, 8, 8)
    sigma, plain, guided = torch.tensor([5.0]), cond[None], (uncond + 7 * (cond - uncond))[None]

    def v(denoised):  # Salimans & Ho (2022): v = alpha * eps - sigma * x0, in variance-preserving scale
        alpha = (1 + sigma**2) ** -0.5
        return alpha * (x - denoised) / sigma - sigma * alpha * denoised

    full, half, none = (rescaled(guided, plain, amount, x, sigma) for amount in (1.0, 0.5, 0.0))
    assert v(full).std().item() == pytest.approx(v(plain).std().item(), rel=1e-4)
    assert torch.allclose(none, guided, atol=1e-4)
    assert torch.allclose(half, (full + none) / 2, atol=1e-4)
