"""What files of networks hold, as their trainers write it, changes the layers that they mean, as the papers say."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from sd import lora, lycoris
from transformers import CLIPTextModel

from core.plugin import InvalidParams

ATTENTION = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
CONV = "down_blocks.1.resnets.0.conv1"  # 64 to 96 channels
KOHYA, KOHYA_CONV = (f"lora_unet_{name.replace('.', '_')}" for name in (ATTENTION, CONV))
TEXT = "encoder.layers.1.mlp.fc1"


@pytest.fixture(scope="module")
def unet(plugin):
    return UNet2DConditionModel.from_pretrained(plugin.folder / "builtin/unet")


@pytest.fixture(scope="module")
def large_unet():
    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768)  # its blocks are those of Stable Diffusion 1 and 2


@pytest.fixture(scope="module")
def clip(plugin):
    return CLIPTextModel.from_pretrained(plugin.folder / "builtin/text_encoder")


@pytest.fixture
def load(unet, clip, tmp_path):
    """`load(tensors)` is what lora.load says of a file with these; `load.warnings` what it warned of."""

    def load(tensors, name="x.safetensors"):
        path = tmp_path / name
        (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)
        return lora.load(path, unet, (clip,), load.warnings)

    load.warnings = []
    return load


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def random(*shape):
    return torch.randn(shape) / 10


def lora_of(layer, up, down, **more):
    return {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down} | {
        f"{layer}.{name}": torch.tensor(value) for name, value in more.items()
    }


def test_lora_is_a_second_way_through_a_linear_layer(unet, load):
    up, down, x = random(96, 4), random(4, 96), random(5, 96)
    change, _ = load(lora_of(KOHYA, up, down, alpha=2.0))
    W = unet.get_submodule(ATTENTION).weight
    y = F.linear(x, W + change[f"{ATTENTION}.weight"](W))
    torch.testing.assert_close(y, F.linear(x, W) + 2 / 4 * (x @ down.T @ up.T))


def test_without_alpha_lora_is_not_scaled(load):
    up, down = random(96, 4), random(4, 96)
    change, _ = load(lora_of(KOHYA, up, down))
    torch.testing.assert_close(change[f"{ATTENTION}.weight"](torch.zeros(96, 96)), up @ down)


@pytest.mark.parametrize("with_core", [False, True])
def test_locon_is_a_second_way_through_a_convolution(unet, load, with_core):
    up, x = random(96, 4, 1, 1), random(1, 64, 9, 7)
    if with_core:
        down, mid = random(4, 64, 1, 1), random(4, 4, 3, 3)
        inner = F.conv2d(F.conv2d(x, down), mid, padding=1)
        tensors = lora_of(KOHYA_CONV, up, down, alpha=1.0) | {f"{KOHYA_CONV}.lora_mid.weight": mid}
    else:
        down = random(4, 64, 3, 3)
        inner = F.conv2d(x, down, padding=1)
        tensors = lora_of(KOHYA_CONV, up, down, alpha=1.0)
    change, _ = load(tensors)
    W = unet.get_submodule(CONV).weight
    y = F.conv2d(x, W + change[f"{CONV}.weight"](W), padding=1)
    torch.testing.assert_close(y, F.conv2d(x, W, padding=1) + F.conv2d(inner, up) / 4)


def test_linear_weights_fit_1x1_convolutions_and_the_other_way_round(load):
    up, down = random(96, 4), random(4, 96)
    conv = "down_blocks.1.attentions.0.proj_in"
    change, _ = load(lora_of("lora_unet_down_blocks_1_attentions_0_proj_in", up, down))
    torch.testing.assert_close(change[f"{conv}.weight"](torch.zeros(96, 96, 1, 1)), (up @ down)[..., None, None])
    change, _ = load(lora_of(KOHYA, up[..., None, None], down[..., None, None]))
    torch.testing.assert_close(change[f"{ATTENTION}.weight"](torch.zeros(96, 96)), up @ down)


def test_loha_is_the_product_of_two_loras(load):
    b1, a1, b2, a2 = random(96, 3), random(3, 96), random(96, 3), random(3, 96)
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    tensors = {f"{KOHYA}.{name}": tensor for name, tensor in zip(names, (b1, a1, b2, a2), strict=True)}
    change, _ = load(tensors | {f"{KOHYA}.alpha": torch.tensor(6.0)})
    torch.testing.assert_close(change[f"{ATTENTION}.weight"](torch.zeros(96, 96)), 2 * (b1 @ a1) * (b2 @ a2))


def test_loha_of_a_convolution_may_have_cores(load):
    parts = [(random(3, 96), random(3, 64), random(3, 3, 3, 3)) for _ in range(2)]
    tensors = {
        f"{KOHYA_CONV}.hada_{name}": tensor
        for k, (b, a, t) in enumerate(parts, 1)
        for name, tensor in ((f"w{k}_a", b), (f"w{k}_b", a), (f"t{k}", t))
    }
    change, _ = load(tensors)
    first, second = (
        sum(t[r, s] * (b[r][:, None] * a[s])[..., None, None] for r in range(3) for s in range(3)) for b, a, t in parts
    )
    torch.testing.assert_close(change[f"{CONV}.weight"](torch.zeros(96, 64, 3, 3)), first * second)


def blocks(w1, w2):
    """The Kronecker product, block by block."""
    return torch.cat([torch.cat([number * w2 for number in row], 1) for row in w1])


def test_lokr_is_a_kronecker_product_of_whole_or_low_rank_factors(load):
    w1, w2 = random(8, 6), random(12, 16)
    change, _ = load({f"{KOHYA}.lokr_w1": w1, f"{KOHYA}.lokr_w2": w2, f"{KOHYA}.alpha": torch.tensor(7.0)})
    torch.testing.assert_close(change[f"{ATTENTION}.weight"](torch.zeros(96, 96)), blocks(w1, w2))

    b1, a1, b2, a2 = random(8, 2), random(2, 6), random(12, 2), random(2, 16)
    names = ("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b")
    tensors = {f"{KOHYA}.{name}": tensor for name, tensor in zip(names, (b1, a1, b2, a2), strict=True)}
    change, _ = load(tensors | {f"{KOHYA}.alpha": torch.tensor(1.0)})
    torch.testing.assert_close(change[f"{ATTENTION}.weight"](torch.zeros(96, 96)), blocks(b1 @ a1, b2 @ a2) / 2)


@pytest.mark.parametrize("with_core", [False, True])
def test_lokr_of_a_convolution(load, with_core):
    w1 = random(8, 4)
    if with_core:
        b, a, t = random(2, 12), random(2, 16), random(2, 2, 3, 3)
        w2 = sum(t[r, s] * (b[r][:, None] * a[s])[..., None, None] for r in range(2) for s in range(2))
        tensors = {"lokr_w2_a": b, "lokr_w2_b": a, "lokr_t2": t}
    else:
        b, a = random(12, 2), random(2, 16 * 3 * 3)
        w2 = (b @ a).reshape(12, 16, 3, 3)
        tensors = {"lokr_w2_a": b, "lokr_w2_b": a}
    change, _ = load({f"{KOHYA_CONV}.{name}": tensor for name, tensor in (tensors | {"lokr_w1": w1}).items()})
    torch.testing.assert_close(change[f"{CONV}.weight"](torch.zeros(96, 64, 3, 3)), blocks(w1, w2))


def test_full_differences_of_weights_biases_and_norms_are_added(unet, load):
    diff, bias, norm, shift = random(96, 64, 3, 3), random(96), random(64), random(64)
    name = "down_blocks.1.resnets.0.norm1"
    key = f"lora_unet_{name.replace('.', '_')}"
    norms = {f"{key}.w_norm": norm, f"{key}.b_norm": shift}
    change, _ = load({f"{KOHYA_CONV}.diff": diff, f"{KOHYA_CONV}.diff_b": bias} | norms)
    W = unet.get_submodule(CONV).weight
    assert change.keys() == {f"{CONV}.weight", f"{CONV}.bias", f"{name}.weight", f"{name}.bias"}
    assert torch.equal(change[f"{CONV}.weight"](W), diff)
    assert torch.equal(change[f"{CONV}.bias"](random(96)), bias)
    assert torch.equal(change[f"{name}.weight"](random(64)), norm)
    assert torch.equal(change[f"{name}.bias"](random(64)), shift)


@pytest.mark.parametrize("on_input", [False, True])
def test_ia3_scales_channels(load, on_input):
    weight, W = random(96), random(96, 96)
    change, _ = load({f"{KOHYA}.weight": weight, f"{KOHYA}.on_input": torch.tensor(int(on_input))})
    x = random(5, 96)
    y = F.linear(x, W + change[f"{ATTENTION}.weight"](W))
    scale = 1 + weight
    torch.testing.assert_close(y, F.linear(x * scale, W) if on_input else F.linear(x, W) * scale)


@pytest.mark.parametrize("name", ["dora_scale", "lora_magnitude_vector", "lora_magnitude_vector.weight"])
@pytest.mark.parametrize("layer", [ATTENTION, CONV])
def test_dora_gives_output_channels_their_length(unet, load, layer, name):
    W = unet.get_submodule(layer).weight.detach()
    up, down, length = random(96, 4), random(4, W[0].numel()).reshape(4, *W.shape[1:]), torch.rand(96) + 1
    of_channels = length.reshape(96, *[1] * (W.ndim - 1))
    if name != "dora_scale":
        of_channels = of_channels.transpose(0, 1) if W.ndim > 2 else length  # as PEFT has it
    key = f"lora_unet_{layer.replace('.', '_')}"
    change, _ = load(lora_of(key, up, down) | {f"{key}.{name}": of_channels.contiguous()})
    changed = (W + change[f"{layer}.weight"](W)).flatten(1)
    torch.testing.assert_close(changed.norm(dim=1), length)
    directions = F.normalize(W.flatten(1) + up @ down.flatten(1))
    torch.testing.assert_close(F.normalize(changed), directions)


def test_dora_of_older_files_gives_input_channels_their_length(unet, load):
    W = unet.get_submodule(CONV).weight.detach()
    length = torch.rand(64) + 1
    tensors = lora_of(KOHYA_CONV, random(96, 4, 1, 1), random(4, 64, 3, 3))
    change, _ = load(tensors | {f"{KOHYA_CONV}.dora_scale": length[None, :, None, None]})
    changed = W + change[f"{CONV}.weight"](W)
    torch.testing.assert_close(changed.transpose(0, 1).flatten(1).norm(dim=1), length)


def test_half_precision_files_are_computed_in_float32(load):
    up, down = random(96, 4).half(), random(4, 96).half()
    change, _ = load(lora_of(KOHYA, up, down))
    assert torch.equal(change[f"{ATTENTION}.weight"](torch.zeros(96, 96)), up.float() @ down.float())


def pair(name):
    """The keys of A and B in every way that trainers write a layer of the UNet."""
    underscored, attention = name.replace(".", "_"), name.rpartition(".to_")
    return {
        "kohya": (f"lora_unet_{underscored}.lora_down.weight", f"lora_unet_{underscored}.lora_up.weight"),
        "PEFT": (f"base_model.model.{name}.lora_A.weight", f"base_model.model.{name}.lora_B.weight"),
        "PEFT with adapter": (f"unet.{name}.lora_A.default.weight", f"unet.{name}.lora_B.default.weight"),
        "diffusers with PEFT": (f"unet.{name}.lora_A.weight", f"unet.{name}.lora_B.weight"),
        "diffusers": (f"unet.{name}.lora.down.weight", f"unet.{name}.lora.up.weight"),
        "diffusers' processors": tuple(
            f"unet.{attention[0]}.processor.to_{attention[2]}_lora.{part}.weight" for part in ("down", "up")
        ),
        "diffusers' first": tuple(
            f"{attention[0]}.processor.to_{attention[2]}_lora.{part}.weight" for part in ("down", "up")
        ),
        "LyCORIS alone": (f"lycoris_{underscored}.lora_down.weight", f"lycoris_{underscored}.lora_up.weight"),
    }


@pytest.mark.parametrize("trainer", pair("a.to_k"))
def test_every_trainers_keys_are_understood(load, trainer):
    up, down = random(96, 4), random(4, 96)
    keys = pair(ATTENTION)[trainer]
    change, text = load(dict(zip(keys, (down, up), strict=True)))
    assert (change.keys(), text, load.warnings) == ({f"{ATTENTION}.weight"}, {}, [])
    torch.testing.assert_close(change[f"{ATTENTION}.weight"](torch.zeros(96, 96)), up @ down)


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (f"lora_te_text_model_{TEXT.replace('.', '_')}.lora_{{}}.weight", ("down", "up")),
        (f"text_encoder.text_model.{TEXT}.lora_{{}}.weight", ("A", "B")),
        (f"text_encoder.text_model.{TEXT}.lora_linear_layer.{{}}.weight", ("down", "up")),
        (f"text_encoder.{TEXT}.lora_{{}}.weight", ("A", "B")),
        (f"base_model.model.text_model.{TEXT}.lora_{{}}.weight", ("A", "B")),
    ],
)
def test_the_text_encoders_keys_are_understood(clip, load, down, up):
    change, text = load({down.format(up[0]): random(4, 96), down.format(up[1]): random(384, 4)})
    assert change == {}
    (name,) = text
    assert clip.get_parameter(name) is clip.get_submodule(name.removesuffix(".weight")).weight
    assert name.endswith(f"{TEXT}.weight")


def test_diffusers_old_names_of_attentions_are_understood(load):
    keys = "text_encoder.text_model.encoder.layers.0.self_attn.to_{}_lora.{}.weight"
    parts = [(layer, part) for layer in ("q", "out") for part in ("down", "up")]
    _, text = load({keys.format(*part): random(*((4, 96) if part[1] == "down" else (96, 4))) for part in parts})
    assert {name.removeprefix("text_model.") for name in text} == {
        "encoder.layers.0.self_attn.q_proj.weight",
        "encoder.layers.0.self_attn.out_proj.weight",
    }
    unet = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"
    change, _ = load({f"{unet}.processor.to_out_lora.{part}.weight": random(96, 96) for part in ("down", "up")})
    assert change.keys() == {f"{unet}.to_out.0.weight"}


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("time_embed_0", "time_embedding.linear_1"),
        ("input_blocks_0_0", "conv_in"),
        ("input_blocks_1_0_in_layers_2", "down_blocks.0.resnets.0.conv1"),
        ("input_blocks_1_1_transformer_blocks_0_attn1_to_q", "down_blocks.0.attentions.0.{}.attn1.to_q"),
        ("input_blocks_2_1_proj_in", "down_blocks.0.attentions.1.proj_in"),
        ("input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"),
        ("input_blocks_4_0_skip_connection", "down_blocks.1.resnets.0.conv_shortcut"),
        ("input_blocks_11_0_emb_layers_1", "down_blocks.3.resnets.1.time_emb_proj"),
        ("middle_block_1_transformer_blocks_0_attn2_to_out_0", "mid_block.attentions.0.{}.attn2.to_out.0"),
        ("middle_block_2_out_layers_3", "mid_block.resnets.1.conv2"),
        ("output_blocks_2_1_conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks_5_2_conv", "up_blocks.1.upsamplers.0.conv"),
        ("output_blocks_11_1_transformer_blocks_0_ff_net_0_proj", "up_blocks.3.attentions.2.{}.ff.net.0.proj"),
        ("out_2", "conv_out"),
    ],
)
def test_names_of_the_original_stable_diffusion_are_understood(large_unet, name, layer):
    assert lora.names_in_unet(large_unet)[name] == layer.format("transformer_blocks.0")


def test_every_layer_has_a_name_in_the_original_stable_diffusion(large_unet):
    names = lora.names_in_unet(large_unet)
    originals = [name for name in names if name.startswith(("time_embed_", "input_", "middle_", "output_", "out_"))]
    assert {names[name] for name in originals} == set(lora.layers_of(large_unet))


def test_original_names_work_on_a_model_with_other_blocks(load):
    """The built-in model has three down blocks with one resnet each, of which the first has no attention."""
    key = "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q"
    change, _ = load(lora_of(key, random(96, 4), random(4, 96)))
    assert change.keys() == {"down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight"}


def test_tensors_of_no_layer_are_left_out_and_told(load):
    strange = "lora_unet_down_blocks_7_attentions_0_proj_in"
    change, _ = load(lora_of(KOHYA, random(96, 4), random(4, 96)) | lora_of(strange, random(2, 2), random(2, 2)))
    assert change.keys() == {f"{ATTENTION}.weight"}
    assert load.warnings == [
        "x.safetensors: 2 of 4 tensors were left out, as they belong to no layer of this model, for example "
        f"'{strange}.lora_down.weight'"
    ]


def test_files_with_pickled_tensors_are_read(load):
    tensors = lora_of(KOHYA, random(96, 4), random(4, 96))
    for data in (tensors, {"state_dict": tensors}):
        change, _ = load(data, "x.pt")
        assert change.keys() == {f"{ATTENTION}.weight"}


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lora_of("lora_te2_text_model_encoder_layers_0_mlp_fc1", random(2, 2), random(2, 2)), "none of its 2 tensors"),
        ({"model.diffusion_model.out.2.weight": random(4, 64, 3, 3)}, "none of its 1 tensors"),
        ({}, "none of its 0 tensors"),
        (
            {f"{KOHYA}.oft_blocks": random(2, 2), f"{KOHYA}.alpha": random(1)},
            f"unknown kind, with '{KOHYA}.oft_blocks'",
        ),
        ({f"{KOHYA}.a1.weight": random(2, 2), f"{KOHYA}.alpha": random(1)}, f"unknown kind, with '{KOHYA}.a1.weight'"),
        ({f"{KOHYA}.lora_up.weight": random(2, 2)}, f"unknown kind, with '{ATTENTION}: up'"),
        ({f"{ATTENTION}.weight": random(96, 96)}, f"unknown kind, with '{ATTENTION}: weight'"),
        (
            lora_of(KOHYA, random(96, 4), random(4, 768)),
            f"{ATTENTION}.weight does not fit the model's, .* \\(96, 96\\)",
        ),
        (lora_of(KOHYA, random(96, 4), random(5, 96)), "does not fit"),
        (lora_of(KOHYA_CONV, random(64, 4), random(4, 96, 3, 3)), "does not fit"),
        ({f"{KOHYA}.diff_b": random(96)}, f"{ATTENTION}.bias does not fit"),
        (lora_of(KOHYA, random(96, 4), random(4, 96)) | {f"{KOHYA}.alpha": random(7)}, "does not fit"),
        (lora_of(KOHYA, torch.tensor(1.0), torch.tensor(1.0)), "does not fit"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(load, tensors, message):
    with pytest.raises(InvalidParams, match=f"x.safetensors cannot be used: .*{message}"):
        load(tensors)


def test_a_damaged_file_is_refused_by_name(load, tmp_path, unet, clip, capsys):
    for name in ("x.safetensors", "x.pt"):
        for content in (b"", b"garbage", b"PK\x03\x04", b"\xff" * 100):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InvalidParams, match=f"{name} cannot be used: it cannot be read"):
                lora.load(tmp_path / name, unet, (clip,), [])
    with pytest.raises(InvalidParams, match="y.pt cannot be used: it cannot be read"):
        load({"x": Code()}, "y.pt")
    assert "must not run" not in capsys.readouterr().out


def test_every_kind_has_names_of_its_own():
    needs = [frozenset(kind.needs.split()) for kind in lycoris.KINDS]
    assert len(set(needs)) == len(needs)
    assert all(lycoris.kind_of(need) is kind for need, kind in zip(needs, lycoris.KINDS, strict=True))
