"""expand_prompt: a language model of random weights goes on with a text; and folders that are no model."""

import json
import os
import pickle
from pathlib import Path

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from core.plugin import Cancelled, InvalidParams, ModelNotFound

TEXT = "a red cat"


@pytest.fixture
def tiny(tmp_path):
    """tiny(name, ...) writes a model into models/prompt_expander, see tiny_models; gives its folder."""
    return lambda name="tiny", **how: tiny_models.write(tmp_path / "models/prompt_expander" / name, **how)


@pytest.fixture
def expand(run, tiny):
    """expand(text, ...) gives the texts that the tiny model makes of one."""

    def expand(text=TEXT, ctx=None, **params):
        return [each.value for each in run("expand_prompt", text, ctx, **{"model": "tiny", "length": 12, **params})]

    return expand


def test_the_seed_decides_and_nothing_else(tiny, expand):
    tiny()
    texts = expand(count=4, seed=5)
    assert len({*texts}) == 4 and all(text.startswith(TEXT) for text in texts)
    torch.manual_seed(1)
    assert expand(seed=7) == texts[2:3]
    assert expand(count=2, seed=2**32 - 1)[1:] == expand(seed=0)


def test_both_layouts_of_tokenizers_give_the_same(tiny, expand):
    tiny()
    tiny("old", layout="vocab.json")
    assert expand(seed=3, count=3) == expand(seed=3, count=3, model="old")


def test_the_likeliest_token_is_taken_at_temperature_0_and_of_one(tiny, expand):
    tiny()
    (likeliest,) = expand(temperature=0, seed=1)
    assert expand(temperature=0, seed=2) == expand(top_k=1, seed=3) == expand(top_p=1e-6, seed=4) == [likeliest]


def test_it_writes_what_the_library_writes(tiny, expand, tmp_path):
    """Greedily, with the penalty for repetitions; the library's `generate` reads the same folder."""
    folder = tiny()
    ids = torch.tensor([tiny_models.tokenizer().encode(TEXT).ids])
    model = AutoModelForCausalLM.from_pretrained(folder)
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
                          repetition_penalty=1.3, pad_token_id=0)  # fmt: skip
    theirs = tiny_models.tokenizer().decode(made[0].tolist()).partition("\n")[0].rstrip(" ,\n\ufffd")
    assert expand(temperature=0, repetition_penalty=1.3, tidy=False) == [theirs]


def test_tokens_are_drawn_as_often_as_they_are_likely(tiny, plugin, expand, make_context):
    """A model of the shares 1/2, 1/4, 1/4: with top_k and top_p only the first, or the first two."""
    from stable_core_plugin_prompts import Expansion

    tiny()
    expand()
    logits, draw = torch.full((300,), -1e4), plugin._expander._draw
    logits[[7, 8, 9]] = torch.tensor([0.5, 0.25, 0.25]).log()

    def drawn(**params):
        params = Expansion(**{"temperature": 1, "top_k": 0, "repetition_penalty": 1} | params)
        generator = torch.Generator().manual_seed(0)
        return torch.tensor([draw(logits.clone(), [1], params, generator) for _ in range(1_000)]).bincount(
            minlength=300
        )

    assert 440 < drawn()[7] < 560 and drawn()[[7, 8, 9]].sum() == 1_000
    assert drawn(temperature=0.5)[7] > 600
    assert drawn(top_k=1)[7] == drawn(top_p=0.5)[7] == 1_000
    assert drawn(top_k=2)[9] == drawn(top_p=0.7)[9] == 0 < drawn(top_p=0.7)[8]


@pytest.mark.parametrize(
    "says, params, expected",
    [
        (", a dog, oil", {}, ", a dog, oil"),
        (", a dog, oil", {"stop": "OIL\ncow"}, ", a dog"),
        (", a dog\nnot this", {}, ", a dog"),
        (", A DOG, OX PIG", {"length": 11}, ", A DOG"),
        (", A DOG, OX PIG", {"length": 11, "tidy": False}, ", A DOG, OX"),
        ("\na dog", {}, ""),
        (" é", {"length": 2}, ""),
    ],
)
def test_the_writing_ends_at_stop_words_at_the_end_of_a_line_and_tidily(tiny, expand, says, params, expected):
    tokens = len(tiny_models.tokenizer().encode(TEXT).ids)
    tiny(model=tiny_models.speaking(says, tokens))
    (text,) = expand(temperature=0, repetition_penalty=1, **params)
    assert text == TEXT + expected


def test_an_empty_text_begins_where_texts_begin(tiny, expand):
    tiny(model=tiny_models.speaking("a blue dog"))
    assert expand("", temperature=0, repetition_penalty=1) == ["a blue dog"]


def test_a_text_that_the_model_has_no_room_for_is_refused(tiny, expand):
    tiny()
    assert expand("é" * 26, temperature=0)
    with pytest.raises(
        InvalidParams, match=r"66 tokens, and with 12 more that is over 64, the most that tiny can read"
    ):
        expand("é" * 33)


def test_a_cancelled_job_stops_at_the_next_token_or_keeps_what_there_is(tiny, expand, make_context, monkeypatch):
    monkeypatch.setattr("core.plugin.PROGRESS_SECONDS", 0)
    tiny()
    ctx = make_context(lambda event, body: body.get("step") == 3 and ctx._cancelled.set())
    ctx.keep_partial = True
    (kept,) = expand(ctx=ctx, count=5, seed=1, tidy=False)
    assert len(kept) > len(TEXT) and ctx.told[-1][1]["step"] == 3
    ctx.keep_partial = False
    with pytest.raises(Cancelled):
        expand(ctx=ctx)


def test_a_model_stays_loaded_until_its_files_change(tiny, plugin, expand):
    folder = tiny()
    expand()
    loaded = plugin._expander
    expand()
    assert plugin._expander is loaded
    os.utime(folder / "config.json", ns=(0, 0))
    expand()
    assert plugin._expander is not loaded


def test_weights_as_they_were_published_with_their_masks_are_read(tiny, expand, tmp_path):
    """MagicPrompt and promptgen have GPT-2's keys of 2022: a mask in each layer, and no second copy of the words."""
    folder = tiny()
    weights = {key: value for key, value in tiny_models.gpt2().state_dict().items() if key != "lm_head.weight"}
    for layer in range(2):
        weights[f"transformer.h.{layer}.attn.bias"] = torch.ones(64, 64, dtype=torch.uint8).tril()[None, None]
        weights[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    expected = expand(seed=1)
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert expand(seed=1) == expected


LAYER = {"ln_1.weight": [768], "ln_1.bias": [768], "attn.c_attn.weight": [768, 2304], "attn.c_attn.bias": [2304],
         "attn.c_proj.weight": [768, 768], "attn.c_proj.bias": [768], "ln_2.weight": [768], "ln_2.bias": [768],
         "mlp.c_fc.weight": [768, 3072], "mlp.c_fc.bias": [3072], "mlp.c_proj.weight": [3072, 768],
         "mlp.c_proj.bias": [768]}  # fmt: skip
AROUND = {"wte.weight": [50257, 768], "wpe.weight": [1024, 768], "ln_f.weight": [768], "ln_f.bias": [768]}


@pytest.mark.parametrize("name, layers", [("magicprompt", 12), ("promptgen-lexart", 6)])
def test_the_published_models_have_the_keys_that_are_read(name, layers):
    published = {f"transformer.{key}": shape for key, shape in AROUND.items()}
    published |= {f"transformer.h.{k}.{key}": shape for k in range(layers) for key, shape in LAYER.items()}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(GPT2Config(n_layer=layers))
    read = {key: [*value.shape] for key, value in model.state_dict().items()}
    assert read.pop("lm_head.weight") == AROUND["wte.weight"]  # the same numbers as wte
    assert read == published


def test_a_model_that_is_not_there_is_told(run):
    with pytest.raises(ModelNotFound, match="magicprompt"):
        run("expand_prompt", TEXT)


def test_what_is_no_language_model_is_told(tiny, expand, write):
    tiny("bert", model=tiny_models.bert())
    with pytest.raises(InvalidParams, match="'bert' cannot be used: it is a BertForMaskedLM, and no language model"):
        expand(model="bert")
    write("prompt_expander/single.safetensors", "")
    with pytest.raises(
        InvalidParams, match="'single.safetensors' cannot be used: it is no folder in transformers layout"
    ):
        expand(model="single.safetensors")
    write("prompt_expander/clip/config.json", {"model_type": "clip"})
    with pytest.raises(InvalidParams, match="'clip' cannot be used: it is a model of the type 'clip'"):
        expand(model="clip")
    write("prompt_expander/list/config.json", [])
    with pytest.raises(InvalidParams, match="'list' cannot be used"):
        expand(model="list")


class Harm:
    def __reduce__(self):
        return Path.touch, (Path("harmed"),)


DAMAGED = {
    "pickle": "pytorch_model.bin cannot be used: it cannot be read: reading it would run code",
    "cut": "'tiny' cannot be used: it is damaged or not whole",
    "empty": "'tiny' cannot be used: it is empty",
    "lacking": "'tiny' cannot be used: its weights lack 27 of the model's, such as transformer.h.0",
    "shapes": "'tiny' cannot be used: .*mismatch",
    "nan": "'tiny' cannot be used: it answers with not-a-number",
    "tokenizer": "'tiny' cannot be used: ",
    "vocabulary": "'tiny' cannot be used: its tokenizer belongs to another model",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_folders_are_refused_and_none_runs_code(tiny, expand, damage, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder, model = tiny(), tiny_models.gpt2()
    weights = folder / "model.safetensors"
    if damage == "pickle":
        weights.unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harm(), 2))
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "empty":
        weights.write_bytes(b"")
    elif damage == "lacking":
        model.save_pretrained(folder, state_dict={"transformer.wte.weight": model.transformer.wte.weight})
    elif damage == "nan":
        model.transformer.ln_f.bias.data.fill_(torch.nan)
        model.save_pretrained(folder)
    elif damage == "shapes":
        about = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(about | {"n_embd": 32}))
    elif damage == "tokenizer":
        (folder / "tokenizer.json").write_text("{")
    else:
        model.resize_token_embeddings(60)
        model.save_pretrained(folder)
    with pytest.raises(InvalidParams, match=DAMAGED[damage]) as refused:
        expand()
    assert refused.value.wire()["field"] == "model"
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("absurd", [{"n_layer": 1_000_000_000}, {"vocab_size": 2_000_000_000}])
def test_a_model_that_is_far_larger_than_its_files_is_refused_before_the_memory_is_full(tiny, expand, absurd):
    folder = tiny()
    about = json.loads((folder / "config.json").read_text()) | absurd
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(InvalidParams, match="'tiny' cannot be used: its files hold .* at most, and name far more"):
        expand(model="tiny")


def test_code_beside_a_model_is_not_run(tiny, expand, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = tiny()
    about = json.loads((folder / "config.json").read_text())
    about |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "mine.py").write_text("open('harmed', 'w')")
    with pytest.raises(InvalidParams, match="'tiny' cannot be used"):
        expand()
    assert not (tmp_path / "harmed").exists()


WEIGHTS = Path(os.environ.get("STABLE_CORE_WEIGHTS", "/nowhere")) / "prompt_expander"


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs published models: python3 -m tests --weights DIR")
def test_published_models_go_on_with_a_prompt(expand, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/prompt_expander").symlink_to(WEIGHTS)
    for folder in WEIGHTS.iterdir():
        one, other = expand("a portrait of an old man", model=folder.name, count=2, length=40, seed=1)
        assert one != other and len(one) > 60 and one.isprintable()
