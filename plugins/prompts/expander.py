"""How a language model goes on with a prompt: loaded from a folder in transformers layout, drawn token by token.

The drawing is our own, not the library's `generate`: so that it can be cancelled at each token, and that equal seeds
draw equal texts whatever else the process draws."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoTokenizer
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from core.library.weights import bounded, damage, first_line, pickled_in
from core.plugin import Context, InvalidParams

LAYOUT = "config.json, model.safetensors and the tokenizer's files"
WRITES_ON = re.compile(r"(LMHeadModel|ForCausalLM)$")
OWN = {"local_files_only": True, "trust_remote_code": False}  # if that is not said, the terminal is asked
MAX_ROOM = 4096  # tokens, where a model says no limit


def stamp(folder: Path, device: str) -> tuple:
    """What changes when the model has to be loaded again."""
    return (str(folder), device, *sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("*")))


class Expander:
    """A model that is loaded. Raises InvalidParams if the folder holds none."""

    def __init__(self, name: str, folder: Path, device: str):
        self._name, self.stamp = name, stamp(folder, device)
        disable_progress_bar()
        set_verbosity_error()  # a table of what the weights lack: we refuse them, and say so
        try:
            config = _config(name, folder)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **OWN)
            with bounded(folder):
                self._model, about = _model(folder, config, torch.float32 if device == "cpu" else "auto")
        except (InvalidParams, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # the library raises whatever a damaged file brings about
            weights = folder / "model.safetensors"
            raise _unusable(name, damage(weights, error) if weights.is_file() else first_line(error)) from error
        if missing := sorted(about["missing_keys"]):
            raise _unusable(name, f"its weights lack {len(missing)} of the model's, such as {missing[0]}")
        self._model = self._model.eval().to(device)
        self._ends = {self._tokenizer.eos_token_id, *_listed(self._model.generation_config.eos_token_id)}

    @torch.inference_mode()
    def write(self, text: str, seed: int, params: Any, ctx: Context, number: int = 0) -> str:
        """The text and what follows it. With `keep_partial`, a cancelled one ends where it is.

        Raises InvalidParams if the model has no room for it, Cancelled."""
        ids = self._ids(text, params.length)
        begun = self._decoded(ids)
        device, generator = self._model.device, torch.Generator().manual_seed(seed)
        stops = [re.escape(stop.strip()) for stop in params.stop.splitlines() if stop.strip()]
        stop = re.compile("|".join(["\n", *stops]), re.IGNORECASE)
        past, unread, written, ended = None, ids, "", False
        for step in range(params.length):
            if ctx.cancelled and ctx.keep_partial:
                break
            ctx.raise_if_cancelled()
            out = self._model(input_ids=torch.tensor([unread], device=device), past_key_values=past, use_cache=True)
            past = out.past_key_values
            token = self._draw(out.logits[0, -1].float().cpu(), ids, params, generator)
            ctx.progress(number * params.length + step + 1, params.count * params.length, "write")
            if ended := token in self._ends:
                break
            ids, unread = [*ids, token], [token]
            written = self._decoded(ids).removeprefix(begun)
            if found := stop.search(written):
                written, ended = written[: found.start()], True
                break
        if params.tidy and not ended and "," in written:
            written = written[: written.rindex(",")]
        return text + written.rstrip(" ,\n\ufffd")

    def _ids(self, text: str, length: int) -> list[int]:
        """The text as tokens; of none, what a text begins with."""
        begin = self._tokenizer.bos_token_id
        ids = self._tokenizer(text).input_ids or [self._tokenizer.eos_token_id if begin is None else begin]
        room = getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or MAX_ROOM
        if len(ids) + length > room:
            raise InvalidParams(
                f"the text has {len(ids):,} tokens, and with {length:,} more that is over {room:,}, the most that "
                f"{self._name} can read.", field="length", hint="Shorten the text, or send a smaller length.",
            )  # fmt: skip
        if ids[0] is None or max(ids) >= self._model.get_input_embeddings().num_embeddings:
            raise _unusable(self._name, "its tokenizer belongs to another model")
        return ids

    def _decoded(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _draw(self, logits: Tensor, before: list[int], params: Any, generator: torch.Generator) -> int:
        """The next token. `logits`: (vocabulary,) float32 on the CPU."""
        if not logits.isfinite().all():
            raise _unusable(self._name, "it answers with not-a-number")
        if params.repetition_penalty != 1:  # Keskar et al. (2019), section 4.1
            seen = torch.tensor(sorted({*before}))
            logits[seen] = torch.where(
                logits[seen] > 0, logits[seen] / params.repetition_penalty, logits[seen] * params.repetition_penalty
            )
        if not params.temperature:
            return int(logits.argmax())
        logits, tokens = (logits / params.temperature).sort(descending=True, stable=True)
        shares = logits[: params.top_k or None].softmax(0)
        shares = shares[shares.cumsum(0) - shares < params.top_p]  # Holtzman et al. (2020): the last one crosses top_p
        return int(tokens[torch.multinomial(shares, 1, generator=generator)])


def _config(name: str, folder: Path) -> Any:
    """What the folder says it is; no code that comes with it is run. Raises InvalidParams if it is something else."""
    if not (folder / "config.json").is_file():
        raise _unusable(name, f"it is no folder in transformers layout, with {LAYOUT}")
    about = json.loads((folder / "config.json").read_bytes())
    classes = [str(each) for each in about.get("architectures") or []]
    if classes and not any(WRITES_ON.search(each) for each in classes):
        raise _unusable(name, f"it is a {classes[0]}, and no language model that goes on with a text, such as GPT-2")
    config = AutoConfig.from_pretrained(folder, **OWN)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise _unusable(name, f"it is a model of the type {config.model_type!r}, and no language model")
    return config


def _model(folder: Path, config: Any, dtype: Any) -> tuple[Any, dict[str, Any]]:
    """The model, and what its weights lacked. Pickled ones, as of 2022, are read by ourselves: nothing in them runs."""
    kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    how = {"config": config, "local_files_only": True, "output_loading_info": True, "dtype": dtype}
    if (state := pickled_in(folder, "model")) is not None:
        return kind.from_pretrained(None, state_dict=state, **how)
    return kind.from_pretrained(folder, use_safetensors=True, **how)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _unusable(name: str, why: str) -> InvalidParams:
    return InvalidParams(
        f"the prompt_expander {name!r} cannot be used: {why.rstrip('.')}.", field="model",
        hint=f"Fetch it again, or choose another: a folder in models/prompt_expander with {LAYOUT}.",
    )  # fmt: skip
