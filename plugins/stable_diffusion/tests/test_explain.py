"""What an editor is told about a prompt."""

import subprocess
import sys
from pathlib import Path

import pytest
import sd
from sd.chunks import Wording
from sd.explain import count_tokens, explain
from sd.options import Explain
from sd.reading import explained
from transformers import CLIPTokenizer

from core.library.models import Models
from core.plugin import InvalidParams

FOLDER = Path(sd.__file__).parent


@pytest.fixture(scope="module")
def tokenizer():
    return CLIPTokenizer.from_pretrained(FOLDER / "builtin/tokenizer", local_files_only=True)


@pytest.fixture
def count(tokenizer):
    def count(text, steps=10, embeddings=None, **wording):
        return count_tokens(text, steps, tokenizer, Wording(**wording), embeddings or {})

    return count


def test_a_model_that_has_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "checkpoint/x").mkdir(parents=True)
    (tmp_path / "checkpoint/x/model_index.json").write_text("{}")
    with pytest.raises(InvalidParams, match="model 'x' cannot be used: .*unet/config.json cannot be read") as caught:
        explained(Explain(model="x"), Models(tmp_path, []))
    assert caught.value.extra["field"] == "model"


def test_a_prompt_is_explained_by_part_step_and_weight(tokenizer):
    prompt = "a ([star:red blue:5]:1.5) AND a circle BREAK b :0.5"
    assert explain(prompt, 10, None, tokenizer, Wording(), {}) == {
        "parts": [
            {
                "weight": 1.0,
                "schedule": [
                    {
                        "until": 5,
                        "text": "a (star:1.5)",
                        "attention": [["a ", 1.0], ["star", 1.5]],
                        "tokens": 2,
                        "chunks": 1,
                    },
                    {
                        "until": 10,
                        "text": "a (red blue:1.5)",
                        "attention": [["a ", 1.0], ["red blue", 1.5]],
                        "tokens": 3,
                        "chunks": 1,
                    },
                ],
            },
            {
                "weight": 0.5,
                "schedule": [
                    {
                        "until": 10,
                        "text": " a circle BREAK b",
                        "attention": [[" a circle", 1.0], ["BREAK", -1.0], ["b", 1.0]],
                        "tokens": 3,
                        "chunks": 2,
                    }
                ],
            },
        ]
    }


def test_the_second_pass_has_a_schedule_of_its_own(tokenizer):
    (part,) = explain("[a:b:1.5]", 10, 4, tokenizer, Wording(), {})["parts"]
    assert [(step["until"], step["text"]) for step in part["schedule"]] == [(10, "a")]
    assert [(step["until"], step["text"]) for step in part["hires_schedule"]] == [(2, "a"), (4, "b")]


def test_an_empty_prompt_is_one_empty_chunk(tokenizer, count):
    (part,) = explain("", 1, None, tokenizer, Wording(), {})["parts"]
    assert part["schedule"] == [{"until": 1, "text": "", "attention": [["", 1.0]], "tokens": 0, "chunks": 1}]
    assert count("") == {"tokens": 0, "limit": 75, "chunks": 1, "warnings": []}


def test_wording_and_embeddings_count(tokenizer, count):
    (part,) = explain("(a:2) myword", 1, None, tokenizer, Wording(emphasis="none"), {"myword": 7})["parts"]
    assert part["schedule"][0]["attention"] == [["(a:2) myword", 1.0]]
    assert count("a myword", embeddings={"myword": 7})["tokens"] == 8
    assert count("(a:1)", emphasis="none")["tokens"] > count("(a:1)")["tokens"] == 1


def test_the_longest_text_is_counted(count):
    assert count("a [red star|b] AND c")["tokens"] == 3
    assert count("a [b:red red star:5]", steps=1)["tokens"] == 2


def test_where_a_long_prompt_is_split_is_told(count):
    counted = count("red " * 59 + ", blue circle" * 20)
    assert (counted["tokens"], counted["chunks"]) == (119, 2)
    (warning,) = counted["warnings"]
    assert warning == (
        "More than 75 tokens: the words from 'blue circle , blue circle ,' on are read apart from those before."
    )


def test_a_text_split_by_its_writer_needs_no_warning(count):
    assert count("a BREAK b") == {"tokens": 2, "limit": 150, "chunks": 2, "warnings": []}


def test_an_embedding_that_begins_a_chunk_is_shown_as_dots(count):
    (warning,) = count("red " * 74 + "myword", embeddings={"myword": 2})["warnings"]
    assert "the words from '..' on" in warning


def test_brackets_that_do_not_match_are_told(count):
    assert count("((a) [b")["warnings"] == ["There are 2 ( but 1 ).", "There are 1 [ but 0 ]."]
    assert count("((a) [b", emphasis="comfyui")["warnings"] == ["There are 2 ( but 1 )."]
    assert count("((a) [b", emphasis="none")["warnings"] == count(r"\(a [b]")["warnings"] == []


def test_break_inside_of_brackets_is_told(count):
    (warning,) = count("(a BREAK b:1.3)")["warnings"]
    assert warning.startswith("BREAK inside of brackets is read as a word.")
    assert count("(a BREAK b:1.3)", emphasis="comfyui")["warnings"] == []


def test_explaining_needs_no_torch():
    code = f"""
import sys, types
package = types.ModuleType("sd")
package.__path__ = [{str(FOLDER)!r}]
sys.modules["sd"] = package
from sd.explain import explain, count_tokens
from transformers import CLIPTokenizer
CLIPTokenizer.from_pretrained({str(FOLDER / "builtin/tokenizer")!r}, local_files_only=True)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
