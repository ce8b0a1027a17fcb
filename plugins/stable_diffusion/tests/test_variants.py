"""Changed models share what they do not change, and leave the model they were made from alone."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from sd.variants import tiling, variant
from transformers import CLIPTextModel

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"


@pytest.fixture(scope="module")
def unet(plugin):
    return UNet2DConditionModel.from_pretrained(plugin.folder / "builtin/unet")


@pytest.fixture(scope="module")
def vae(plugin):
    return AutoencoderKL.from_pretrained(plugin.folder / "builtin/vae")


def eps(unet, seed=0, size=(8, 12)):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 4, *size, generator=generator)
    context = torch.randn(1, 7, 96, generator=generator)
    with torch.inference_mode():
        return unet(x, torch.tensor(500), context).sample


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_variant_is_w_plus_delta_and_the_base_stays_as_it_is(unet):
    before, picture = snapshot(unet), eps(unet)
    delta = torch.randn(96, 96)
    changed = variant(unet, {f"{LAYER}.weight": [delta, lambda W: 2 * W]})
    W = before[f"{LAYER}.weight"]
    torch.testing.assert_close(changed.get_parameter(f"{LAYER}.weight"), 3 * W + delta)
    assert not torch.allclose(eps(changed), picture)
    assert same(before, unet.state_dict())
    assert torch.equal(eps(unet), picture)


def test_a_variant_takes_the_memory_of_what_it_changes(unet):
    changed = variant(unet, {f"{LAYER}.weight": [lambda W: W]})
    base = {tensor.data_ptr() for tensor in unet.state_dict().values()}
    own = [name for name, tensor in changed.state_dict().items() if tensor.data_ptr() not in base]
    assert own == [f"{LAYER}.weight"]
    tensors = [value for part in changed.modules() for value in vars(part).values() if isinstance(value, torch.Tensor)]
    assert tensors == []  # none that state_dict would not show


def test_a_variant_of_nothing_draws_the_same_to_the_bit(unet):
    assert torch.equal(eps(variant(unet, {})), eps(unet))


def test_variants_of_one_model_run_interleaved(unet):
    twice = variant(unet, {f"{LAYER}.weight": [lambda W: W]})
    none = variant(unet, {f"{LAYER}.weight": [lambda W: -W]})
    alone = eps(unet), eps(twice), eps(none)
    for _ in range(2):
        assert all(torch.equal(eps(model), picture) for model, picture in zip((unet, twice, none), alone, strict=True))


def test_a_variant_of_a_variant_keeps_both_changes(unet):
    first = variant(unet, {"conv_in.bias": [lambda b: b + 1]})
    both = variant(first, {"conv_out.bias": [lambda b: b + 1]})
    assert torch.equal(both.conv_in.bias, 2 * unet.conv_in.bias + 1)
    assert both.conv_in.bias is first.conv_in.bias
    assert torch.equal(both.conv_out.bias, 2 * unet.conv_out.bias + 1)


def test_deltas_are_added_in_float32_and_stored_as_the_weight_is():
    half = torch.nn.Conv2d(8, 8, 3).half().to(memory_format=torch.channels_last)
    W = half.weight.detach().float()
    delta = torch.full((8, 8, 3, 3), 1e-4)  # 10 of these matter in float16, one beside a weight of 0.1 hardly
    changed = variant(half, {"weight": [delta] * 10}).weight
    assert changed.dtype == torch.float16
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(changed, (W + 1e-3).half())


def test_a_variant_made_in_inference_mode_can_be_used_outside(unet):
    with torch.inference_mode():
        changed = variant(unet, {f"{LAYER}.weight": [lambda W: W]})
    assert not changed.get_parameter(f"{LAYER}.weight").is_inference()


def test_a_text_encoder_that_was_used_has_variants_of_its_own(plugin):
    clip = CLIPTextModel.from_pretrained(plugin.folder / "builtin/text_encoder")
    ids = torch.arange(77)[None]
    states = [state.clone() for state in clip(input_ids=ids, output_hidden_states=True).hidden_states]
    name = next(name for name, _ in clip.named_parameters() if name.endswith("layers.1.mlp.fc1.weight"))
    changed = variant(clip, {name: [lambda W: W]})
    other = changed(input_ids=ids, output_hidden_states=True).hidden_states
    assert [torch.equal(*pair) for pair in zip(states, other, strict=True)] == [True, True, False, False]
    again = clip(input_ids=ids, output_hidden_states=True).hidden_states
    assert all(torch.equal(*pair) for pair in zip(states, again, strict=True))


def moves_with_its_input(function, x, by, factor):
    """Whether rolling x rolls the result: there is no edge that is different from the middle."""
    roll = {"shifts": by, "dims": (2, 3)}
    rolled = {"shifts": [int(n * factor) for n in by], "dims": (2, 3)}
    with torch.inference_mode():
        return torch.allclose(function(torch.roll(x, **roll)), torch.roll(function(x), **rolled), atol=2e-3)


@pytest.mark.parametrize(("make", "moves"), [(lambda model: model, False), (tiling, True)])
def test_only_a_tiling_model_knows_no_edges(unet, vae, make, moves):
    unet, vae, context = make(unet), make(vae), torch.randn(1, 7, 96)
    latents, picture = torch.randn(1, 4, 8, 12), torch.rand(1, 3, 64, 96)
    assert moves_with_its_input(lambda x: unet(x, torch.tensor(500), context).sample, latents, (4, 8), 1) == moves
    assert moves_with_its_input(lambda x: vae.decode(x).sample, latents, (3, 5), 8) == moves
    assert moves_with_its_input(lambda x: vae.encode(x).latent_dist.mean, picture, (16, 24), 1 / 8) == moves


def test_a_tiling_model_shares_all_its_tensors_and_leaves_the_base_alone(unet):
    picture = eps(unet)
    tiled = tiling(unet)
    assert {t.data_ptr() for t in tiled.state_dict().values()} == {t.data_ptr() for t in unet.state_dict().values()}
    assert not torch.allclose(eps(tiled), picture)
    assert torch.equal(eps(unet), picture)


def test_tiling_and_changing_weights_go_together(unet):
    deltas = {f"{LAYER}.weight": [lambda W: W]}
    assert torch.equal(eps(tiling(variant(unet, deltas))), eps(variant(tiling(unet), deltas)))
