"""Networks of the real architectures, so small and random that they are made and run in a moment."""

import string

import numpy as np
import torch
from interrogating.training.onnx_file import Node, onnx_bytes
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
)

WORDS = ["a", "red", "blue", "circle", "square", "photo", "of", "on", "the", "background", "oil", "painting"]


def write_clip(folder, seed=0, side=32):
    """As published folders are: config.json, tokenizer.json, weights."""
    torch.manual_seed(seed)
    letters = [*string.ascii_letters, *string.digits, *"!'(),.:-"]
    names = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = {"vocab_size": len(names), "bos_token_id": len(names) - 2, "eos_token_id": len(names) - 1}
    model = CLIPModel(
        CLIPConfig(
            text_config=size | words | {"max_position_embeddings": 77, "projection_dim": 8},
            vision_config=size | {"image_size": side, "patch_size": 8, "projection_dim": 8},
            projection_dim=8,
        )
    )
    with torch.no_grad():
        for weight in model.parameters():  # as they come, all pictures look nearly the same to it
            weight.mul_(1 if weight.dim() < 2 else 8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def write_blip(folder, seed=0, side=32):
    torch.manual_seed(seed)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = BertTokenizer(vocab={name: number for number, name in enumerate([*special, *WORDS])})
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    count = len(special) + len(WORDS) + 2  # as published: what a caption begins with is not in the vocabulary
    words = {"vocab_size": count, "bos_token_id": count - 2, "pad_token_id": 0, "eos_token_id": 2, "sep_token_id": 3}
    config = BlipConfig(
        text_config=size | words | {"encoder_hidden_size": 16, "max_position_embeddings": 64, "projection_dim": 8},
        vision_config=size | {"image_size": side, "patch_size": 8, "projection_dim": 8},
    )
    model = BlipForConditionalGeneration(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 if weight.dim() < 2 else 12)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def write_tagger(file, count, side=16, metadata=None, layout="NHWC", last="Sigmoid"):
    """An ONNX file of which output k is the chance of k + the mean of channel k % 3, before the sigmoid."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = ["N", side, side, 3] if layout == "NHWC" else ["N", 3, side, side]
    kernel = np.zeros((3, count), "float32")
    kernel[np.arange(count) % 3, np.arange(count)] = 1
    nodes = [
        Node("ReduceMean", ["input"], "mean", {"axes": [1, 2] if layout == "NHWC" else [2, 3], "keepdims": 0}),
        Node("MatMul", ["mean", "kernel"], "sums"),
        Node("Add", ["sums", "bias"], "logits"),
        *([Node(last, ["logits"], "output")] if last else []),
    ]
    weights = {"kernel": kernel, "bias": np.linspace(-1, 1, count, dtype="float32")}
    result = "output" if last else "logits"
    file.write_bytes(onnx_bytes(nodes, weights, ("input", shape), (result, ["N", count]), metadata))
