"""Small models of random weights, as folders that people would have fetched."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "<|endoftext|>"
SIZES = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}


def tokenizer():
    """Bytes, and a few words, as GPT-2 has them."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(["a red cat, a blue dog, oil painting"] * 3, trainer)
    return made


def gpt2(**changes):
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, bos_token_id=0, eos_token_id=0, **SIZES | changes))


def write(folder, model=None, layout="tokenizer.json"):
    """The folder with a model and its tokenizer, in today's layout or that of 2022 (vocab.json, merges.txt)."""
    folder.mkdir(parents=True)
    (model or gpt2()).save_pretrained(folder)
    made = tokenizer()
    if layout == "tokenizer.json":
        PreTrainedTokenizerFast(tokenizer_object=made, bos_token=END, eos_token=END).save_pretrained(folder)
    else:
        made.model.save(str(folder))
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": false}')
    return folder


def speaking(text, after=1):
    """A model that goes on with `text`, whatever the first `after` tokens are: its positions decide, widely."""
    model = gpt2(n_embd=64, tie_word_embeddings=False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.transformer.ln_f.weight.fill_(1)
        model.transformer.wpe.weight.copy_(torch.eye(64))
        for place, token in enumerate([*tokenizer().encode(text).ids, 0], after - 1):
            model.lm_head.weight[token, place] = 10
    return model


def bert():
    return BertForMaskedLM(BertConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                      intermediate_size=16, max_position_embeddings=64))  # fmt: skip
