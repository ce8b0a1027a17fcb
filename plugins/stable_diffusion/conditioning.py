"""How a prompt becomes the context that the UNet attends to."""

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer


class TextEncoder:
    def __init__(self, tokenizer: CLIPTokenizer, clip: CLIPTextModel):
        self._tokenizer, self._clip = tokenizer, clip
        self._length = tokenizer.model_max_length  # 77, begin and end included

    def tokens(self, text: str) -> tuple[list[int], str]:
        """The ids of `text`, padded to the model's 77, and the end of the text that did not fit, "" if all did."""
        ids = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        room = self._length - 2
        begin, end, pad = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id, self._tokenizer.pad_token_id
        padded = [begin, *ids[:room], end] + [pad] * (room - len(ids))
        return padded, self._tokenizer.decode(ids[room:]).strip()

    def encode(self, prompts: list[list[int]]) -> list[Tensor]:
        """The context of each list of token ids: (1, 77, D), CLIP's last layer after its final layer norm."""
        ids = torch.tensor(prompts, device=self._clip.device)
        return list(self._clip(input_ids=ids).last_hidden_state.split(1))
