"""Learn CLIP's kind of tokenizer, byte pairs with an end-of-word mark, from captions and English in Python's docs."""

import argparse
import json
import random
import re
import sysconfig
from collections import Counter
from pathlib import Path

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from .captions import caption
from .drawing import random_scene
from .models import VOCABULARY

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
CAPTIONS = 60_000
ENGLISH_WORDS = 5_000


def caption_words(rng: random.Random) -> Counter:
    """How often each word occurs in captions."""
    words = Counter()
    for _ in range(CAPTIONS):
        words.update(re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", caption(random_scene(rng), rng).lower()))
    return words


def english_words() -> Counter:
    """The commonest lower-case words in the comments and docs of Python's standard library, with made-up frequencies.

    They only have to be frequent enough to be spelled in few tokens, so that long prompts fit into 77."""
    words = Counter()
    for path in Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"):
        if "site-packages" not in path.parts:
            words.update(re.findall(r"(?<![A-Za-z_.])[a-z]{3,12}(?![A-Za-z_(.=\d])", path.read_text(errors="ignore")))
    common = [word for word, _ in words.most_common(ENGLISH_WORDS) if re.search("[aeiouy]", word)]
    return Counter({word: max(1, int(300 / (1 + rank / 40))) for rank, word in enumerate(common)})


def learn_merges(words: Counter, count: int) -> list[tuple[str, str]]:
    """The `count` most frequent pairs, found one after the other (Sennrich et al. 2016, algorithm 1)."""
    letters = bytes_to_unicode()
    spelled = {}
    for word in words:
        symbols = [letters[byte] for byte in word.encode()]
        spelled[word] = [*symbols[:-1], symbols[-1] + WORD_END]
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for word, symbols in spelled.items():
            for pair in zip(symbols, symbols[1:], strict=False):
                pairs[pair] += words[word]
        best = max(pairs, key=pairs.get)
        merges.append(best)
        spelled = {word: _merge(symbols, best) for word, symbols in spelled.items()}
    return merges


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    if pair[0] not in symbols:
        return symbols
    merged, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


def write(out: Path, merges: list[tuple[str, str]]) -> CLIPTokenizer:
    """Write vocab.json, merges.txt and tokenizer_config.json, and read them back."""
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *[letter + WORD_END for letter in letters], *[a + b for a, b in merges], START, END]
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "errors": "replace",
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
    }
    out.mkdir(parents=True, exist_ok=True)
    numbers = {token: number for number, token in enumerate(tokens)}
    (out / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False))
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    return CLIPTokenizer.from_pretrained(out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    options = parser.parse_args()
    merges = learn_merges(english_words() + caption_words(random.Random(0)), VOCABULARY - 2 * 256 - 2)
    tokenizer = write(options.out, merges)
    for text in ("a red circle on a blue background", "Smiley face, sunset", "an astronaut riding a horse, 4k"):
        print(text, "->", " ".join(tokenizer.tokenize(text)))


if __name__ == "__main__":
    main()
