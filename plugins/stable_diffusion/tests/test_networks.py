"""Extra networks: what a prompt asks for is found, and the model does what it says and nothing else."""

import hashlib
import subprocess
import sys

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from sd.networks import Network, apply, extract, find
from transformers import CLIPTextModel

from core.library.models import Models
from core.plugin import InvalidParams, ModelNotFound

ATTENTION = "mid_block.attentions.0.transformer_blocks.0.attn2"


@pytest.fixture(scope="module")
def unet(plugin):
    return UNet2DConditionModel.from_pretrained(plugin.folder / "builtin/unet")


@pytest.fixture(scope="module")
def clip(plugin):
    return CLIPTextModel.from_pretrained(plugin.folder / "builtin/text_encoder")


@pytest.fixture
def models(tmp_path):
    for kind in ("lora", "hypernetwork"):
        (tmp_path / kind).mkdir()
    return Models(tmp_path, [])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def eps(unet):
    generator = torch.Generator().manual_seed(0)
    x, context = torch.randn(2, 4, 8, 12, generator=generator), torch.randn(2, 7, 96, generator=generator)
    with torch.inference_mode():
        return unet(x, torch.tensor(500), context).sample


def encoded(clip):
    with torch.inference_mode():
        return clip(input_ids=torch.arange(77)[None]).last_hidden_state


def save_lora(models, name, unet, size=0.2):
    """A random LoRA of all attention layers of UNet and text encoder."""
    tensors = {}
    for layer, part in unet.named_modules():
        if isinstance(part, torch.nn.Linear) and ".attn" in layer:
            key = "lora_unet_" + layer.replace(".", "_")
            tensors[f"{key}.lora_up.weight"] = size * torch.randn(part.out_features, 4)
            tensors[f"{key}.lora_down.weight"] = size * torch.randn(4, part.in_features)
            tensors[f"{key}.alpha"] = torch.tensor(2.0)
    for k in range(3):
        key = f"lora_te_text_model_encoder_layers_{k}_self_attn_q_proj"
        tensors[f"{key}.lora_up.weight"] = size * torch.randn(96, 4)
        tensors[f"{key}.lora_down.weight"] = size * torch.randn(4, 96)
    save_file(tensors, models.folder / f"lora/{name}.safetensors")


@pytest.mark.parametrize(
    ("prompt", "text", "networks"),
    [
        ("", "", []),
        ("a cat", "a cat", []),
        ("<lora:x>", "", [Network("lora", "x", 1, 1)]),
        ("a <lora:x:0.8> cat", "a  cat", [Network("lora", "x", 0.8, 0.8)]),
        ("<lyco:x:-.5>a", "a", [Network("lyco", "x", -0.5, -0.5)]),
        ("<lora:x:0.8:0.5>", "", [Network("lora", "x", 0.8, 0.5)]),
        ("<lora:x:te=0.8:unet=0.5>", "", [Network("lora", "x", 0.8, 0.5)]),
        ("<lora:x:0.8:unet=0>", "", [Network("lora", "x", 0.8, 0)]),
        ("<lora:x:te=0>", "", [Network("lora", "x", 0, 0)]),
        ("<hypernet:some name:1>", "", [Network("hypernet", "some name", 1, 1)]),
        ("<lora:a b/c-1.2:1e-1>", "", [Network("lora", "a b/c-1.2", 0.1, 0.1)]),
        ("<lora:x:1><lora:y:2>", "", [Network("lora", "x", 1, 1), Network("lora", "y", 2, 2)]),
        ("<lora:x:1>\n<lora:x:1>", "\n", [Network("lora", "x", 1, 1)] * 2),
        *(
            (text, text, [])
            for text in (
                "<lora:x:much>", "<lora:x:>", "<lora::1>", "<lora:>", "<lora>", "<lora:x:1", "<Lora:x:1>", "<other:x>",
                "<lora:x:nan>", "<lora:x:inf>", "<lora:x:1:1:1>", "<lora:x:half=1>", "<lora:x:te=>", "a < b: c > d",
            )
        ),
    ],
)  # fmt: skip
def test_extra_networks_are_taken_out_of_the_prompt(prompt, text, networks):
    assert extract(prompt) == (text, networks)


def test_extracting_needs_no_torch():
    code = "import sys; from plugins.stable_diffusion import networks, embeddings; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_file_is_found_by_its_name_its_stem_its_folder_and_in_any_case(models):
    (models.folder / "lora/style").mkdir()
    for name in ("Ink.safetensors", "ink.pt", "style/Chalk v1.2.safetensors"):
        (models.folder / "lora" / name).touch()
    found = {
        name: find(Network("lora", name), models).relative_to(models.folder / "lora").as_posix()
        for name in ("ink.pt", "ink", "Ink", "style/Chalk v1.2", "Chalk v1.2", "chalk V1.2")
    }
    assert found == {
        "ink.pt": "ink.pt",
        "ink": "ink.pt",
        "Ink": "Ink.safetensors",
        "style/Chalk v1.2": "style/Chalk v1.2.safetensors",
        "Chalk v1.2": "style/Chalk v1.2.safetensors",
        "chalk V1.2": "style/Chalk v1.2.safetensors",
    }


def test_a_renamed_file_is_found_by_the_name_its_trainer_gave_it(models):
    path = models.folder / "lora/renamed.safetensors"
    save_file({"x": torch.ones(1)}, path, metadata={"ss_output_name": "trained name"})
    (models.folder / "lora/damaged.safetensors").write_bytes(b"damaged")
    (models.folder / "lora/folder.safetensors").mkdir()
    assert find(Network("lora", "trained name"), models) == path
    save_file({"x": torch.ones(1)}, models.folder / "lora/trained name.safetensors")
    assert find(Network("lora", "trained name"), models).name == "trained name.safetensors"


def test_a_missing_file_is_told_with_the_nearest(models):
    (models.folder / "lora/sketch.safetensors").touch()
    with pytest.raises(ModelNotFound, match="there is no lora 'skech'. Did you mean sketch?") as caught:
        find(Network("lyco", "skech"), models)
    assert caught.value.extra["field"] == "prompt"
    (models.folder / "lora/nowhere.safetensors").symlink_to("nothing")
    with pytest.raises(ModelNotFound, match="there is no lora 'skech'"):
        find(Network("lora", "skech"), models)
    with pytest.raises(ModelNotFound, match="there is no hypernetwork 'sketch'.$"):
        find(Network("hypernet", "sketch"), models)


def test_no_networks_change_nothing(unet, clip, models):
    assert apply(unet, (clip,), [], models) == (unet, (clip,), {}, [])


def test_weight_0_gives_the_same_model(unet, clip, models):
    save_lora(models, "x", unet)
    model, (text,), hashes, warnings = apply(unet, (clip,), [Network("lora", "x", 0, 0)], models)
    assert (model is unet, text is clip, list(hashes), warnings) == (True, True, ["x"], [])


def test_unet_and_text_encoder_have_weights_of_their_own(unet, clip, models):
    save_lora(models, "x", unet)
    model, (text,), *_ = apply(unet, (clip,), [Network("lora", "x", 0, 1)], models)
    assert text is clip
    assert not torch.allclose(eps(model), eps(unet))
    model, (text,), *_ = apply(unet, (clip,), [Network("lora", "x", 1, 0)], models)
    assert model is unet
    assert not torch.allclose(encoded(text), encoded(clip))


def test_two_networks_add_up_in_any_order(unet, clip, models):
    save_lora(models, "x", unet)
    save_lora(models, "y", unet)
    x, y = Network("lora", "x", 0.5, 0.5), Network("lora", "y", -0.7, -0.7)
    one, other = (apply(unet, (clip,), order, models)[0] for order in ([x, y], [y, x]))
    assert torch.equal(eps(one), eps(other))
    W, only_x, only_y = (
        model.get_parameter(f"{ATTENTION}.to_k.weight")
        for model in (unet, *(apply(unet, (clip,), [network], models)[0] for network in (x, y)))
    )
    torch.testing.assert_close(one.get_parameter(f"{ATTENTION}.to_k.weight"), only_x + only_y - W)


def test_a_negative_weight_takes_away_what_a_positive_one_adds(unet, clip, models):
    save_lora(models, "x", unet)
    both = [Network("lora", "x", 1, 1), Network("lora", "x", -1, -1)]
    model, (text,), *_ = apply(unet, (clip,), both, models)
    assert torch.equal(eps(model), eps(unet))
    assert torch.equal(encoded(text), encoded(clip))


def test_a_network_that_is_named_often_is_read_once_and_has_the_sum_of_its_weights(unet, clip, models, monkeypatch):
    from sd import lora

    save_lora(models, "a", unet)
    once, *_ = apply(unet, (clip,), [Network("lora", "a", 1.0)], models)
    read, load = [], lora.load
    monkeypatch.setattr(lora, "load", lambda path, *more: read.append(path) or load(path, *more))
    often, *_ = apply(unet, (clip,), [Network("lora", "a", 0.25, 0.25)] * 4, models)
    assert len(read) == 1
    torch.testing.assert_close(eps(often), eps(once), atol=1e-4, rtol=1e-4)


def test_who_makes_a_model_with_networks_can_end_it_before_each_file(unet, clip, models):
    class Ended(Exception): ...

    def end():
        raise Ended

    save_lora(models, "a", unet)
    with pytest.raises(Ended):
        apply(unet, (clip,), [Network("lora", "a")], models, end)


def test_networks_leave_the_model_alone_and_share_the_rest_with_it(unet, clip, models):
    save_lora(models, "x", unet)
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    model, *_ = apply(unet, (clip,), [Network("lora", "x")], models)
    assert all(torch.equal(before[name], tensor) for name, tensor in unet.state_dict().items())
    own = [
        name for name, tensor in model.state_dict().items() if tensor.data_ptr() != unet.state_dict()[name].data_ptr()
    ]
    assert own
    assert all(".attn" in name and name.endswith(".weight") for name in own)


def test_a_network_that_is_the_difference_of_two_models_leads_from_one_to_the_other(unet, clip, models, plugin):
    other = UNet2DConditionModel.from_pretrained(plugin.folder / "builtin/unet")
    tensors = {}
    with torch.no_grad():
        for name, part in other.named_modules():
            if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d)):
                part.weight += 0.02 * torch.randn_like(part.weight)
                difference = (part.weight - unet.get_submodule(name).weight).flatten(1)
                u, s, v = torch.linalg.svd(difference, full_matrices=False)
                key = "lora_unet_" + name.replace(".", "_")
                tensors[f"{key}.lora_up.weight"] = (u * s).contiguous()
                tensors[f"{key}.lora_down.weight"] = v.reshape(len(v), *part.weight.shape[1:]).contiguous()
    save_file(tensors, models.folder / "lora/there.safetensors")
    assert not torch.allclose(eps(unet), eps(other), atol=1e-2)
    there, *_ = apply(unet, (clip,), [Network("lora", "there")], models)
    torch.testing.assert_close(eps(there), eps(other), atol=1e-3, rtol=1e-3)


def test_hashes_are_of_the_files_and_warnings_come_through(unet, clip, models):
    layer = f"unet.{ATTENTION}.to_k"
    path = models.folder / "lora/x.safetensors"
    save_file({f"{layer}.lora_A.weight": torch.ones(1, 96), f"{layer}.lora_B.weight": torch.ones(96, 1)}, path)
    assert apply(unet, (clip,), [Network("lora", "x")], models)[3] == []
    save_file({f"{layer}.diff": torch.ones(96, 96), "other": torch.ones(1)}, path)
    *_, hashes, warnings = apply(unet, (clip,), [Network("lora", "x")], models)
    assert hashes == {"x": hashlib.sha256(path.read_bytes()).hexdigest()[:10]}
    assert len(warnings) == 1
    assert warnings[0].startswith("x.safetensors: 1 of 2 tensors were left out")


def mlp(width, hidden=8, activation=torch.nn.ReLU, norm=False, dropout=False):
    """What A1111 trains: linear, activation, layer norm, dropout, and again."""
    layers = [torch.nn.Linear(width, hidden), activation()]
    layers += [torch.nn.LayerNorm(hidden)] if norm else []
    layers += [torch.nn.Dropout()] if dropout else []
    layers += [torch.nn.Linear(hidden, width)]
    layers += [torch.nn.LayerNorm(width)] if norm else []
    return torch.nn.Sequential(*layers).eval()


def state(network):
    return {f"linear.{name}": tensor for name, tensor in network.state_dict().items()}


def save_hypernetwork(models, networks, **more):
    data = {width: (state(keys), state(values)) for width, (keys, values) in networks.items()}
    more = {"step": 3, "name": "h", "layer_structure": [1, 0.1, 1], "activate_output": False} | more
    torch.save(data | more, models.folder / "hypernetwork/h.pt")


def input_of(unet, layer):
    """What the layer of that name is given when the UNet runs once."""
    seen = []
    hook = unet.get_submodule(layer).register_forward_hook(lambda part, inputs, output: seen.append(inputs[0]))
    eps(unet)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("layers", "facts"),
    [
        ({}, {"activation_func": "relu"}),
        ({"activation": torch.nn.Hardswish}, {"activation_func": "swish"}),
        ({"activation": torch.nn.Mish}, {"activation_func": "mish"}),
        ({"activation": torch.nn.Identity}, {"activation_func": "linear"}),
        ({"activation": torch.nn.Identity}, {"activation_func": None}),
        ({"norm": True}, {"activation_func": "relu", "is_layer_norm": True}),
        ({"norm": True, "dropout": True}, {"activation_func": "relu", "is_layer_norm": True, "use_dropout": True}),
    ],
)
def test_a_hypernetwork_changes_the_context_of_keys_and_of_values(unet, clip, models, layers, facts):
    keys, values = mlp(96, **layers), mlp(96, **layers)
    save_hypernetwork(models, {96: (keys, values)}, **facts)
    model, (text,), *_ = apply(unet, (clip,), [Network("hypernet", "h", 0.5, 0.5)], models)
    assert text is clip
    context = input_of(unet, f"{ATTENTION}.to_k")
    for layer, network in (("to_k", keys), ("to_v", values)):
        with torch.inference_mode():
            torch.testing.assert_close(input_of(model, f"{ATTENTION}.{layer}"), context + 0.5 * network(context))
    assert not torch.allclose(eps(model), eps(unet))


def test_a_hypernetwork_leaves_attentions_of_another_width_alone(unet, clip, models):
    save_hypernetwork(models, {96: (mlp(96), mlp(96)), 768: (mlp(768), mlp(768))}, activation_func="relu")
    apply(unet, (clip,), [Network("hypernet", "h")], models)
    save_hypernetwork(models, {768: (mlp(768), mlp(768))}, activation_func="relu")
    with pytest.raises(InvalidParams, match="h.pt cannot be used: it is for attentions of width 768, .* has 96"):
        apply(unet, (clip,), [Network("hypernet", "h")], models)


def test_a_hypernetwork_of_weight_0_or_of_zeros_changes_nothing(unet, clip, models):
    network = mlp(96)
    save_hypernetwork(models, {96: (network, network)}, activation_func="relu")
    assert apply(unet, (clip,), [Network("hypernet", "h", 0, 0)], models)[0] is unet
    torch.nn.init.zeros_(network[-1].weight), torch.nn.init.zeros_(network[-1].bias)
    save_hypernetwork(models, {96: (network, network)}, activation_func="relu")
    model, *_ = apply(unet, (clip,), [Network("hypernet", "h")], models)
    assert torch.equal(eps(model), eps(unet))


def test_the_first_hypernetworks_had_other_names_and_no_activation(unet, clip, models):
    a, b = torch.randn(8, 96), torch.randn(96, 8)
    old = {"linear1.weight": a, "linear1.bias": torch.ones(8), "linear2.weight": b, "linear2.bias": torch.ones(96)}
    torch.save({96: (old, old)}, models.folder / "hypernetwork/h.pt")
    model, *_ = apply(unet, (clip,), [Network("hypernet", "h")], models)
    x = input_of(unet, f"{ATTENTION}.to_k")
    torch.testing.assert_close(input_of(model, f"{ATTENTION}.to_k"), x + (x @ a.T + 1) @ b.T + 1)


def test_loras_and_hypernetworks_go_together(unet, clip, models):
    save_lora(models, "x", unet)
    save_hypernetwork(models, {96: (mlp(96), mlp(96))}, activation_func="relu")
    both, *_ = apply(unet, (clip,), [Network("hypernet", "h"), Network("lora", "x")], models)
    lora, *_ = apply(unet, (clip,), [Network("lora", "x")], models)
    name = f"{ATTENTION}.to_k.weight"
    assert torch.equal(both.get_parameter(name), lora.get_parameter(name))
    assert not torch.allclose(eps(both), eps(lora))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": 1}, "it is not a hypernetwork"),
        ([1], "it is not a hypernetwork"),
        ({96: (state(mlp(96)),) * 2, "activation_func": "magic"}, "its activation function 'magic' is unknown"),
        ({96: (state(mlp(96)),)}, "its networks for width 96 are damaged"),
        ({96: ({}, {})}, "its networks for width 96 are damaged"),
        ({96: (state(mlp(64)),) * 2}, "its networks for width 96 are damaged"),
    ],
)
def test_a_file_that_is_no_hypernetwork_is_refused_by_name(unet, clip, models, data, message):
    torch.save(data, models.folder / "hypernetwork/h.pt")
    with pytest.raises(InvalidParams, match=f"h.pt cannot be used: {message}"):
        apply(unet, (clip,), [Network("hypernet", "h")], models)
