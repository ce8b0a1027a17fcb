"""From a text to what the UNet attends to, on the built-in model's own tokenizer and CLIP."""

from collections import UserDict

import pytest
import torch
from sd.chunks import Wording, split
from sd.conditioning import Condition, TextEncoder, emphasised
from sd.placement import Placement
from transformers import CLIPTextModel, CLIPTokenizer

from core.plugin import InvalidParams

BEGIN, END = 1598, 1599
VOCABULARY = 1600
WIDTH = 96


@pytest.fixture(scope="module")
def tokenizer(plugin):
    return CLIPTokenizer.from_pretrained(plugin.folder / "builtin/tokenizer", local_files_only=True)


@pytest.fixture(scope="module")
def clip(plugin):
    return CLIPTextModel.from_pretrained(plugin.folder / "builtin/text_encoder", dtype=torch.float32)


@pytest.fixture(scope="module")
def encode(tokenizer, clip):
    """encode(*texts, **wording) gives the contexts."""
    encoder = TextEncoder([tokenizer], [clip], Placement("cpu"))

    def encode(*texts, embeddings=None, **wording):
        with torch.inference_mode():
            chunks = [encoder.chunks(text, Wording(**wording), embeddings or {}) for text in texts]
            return [condition.context for condition in encoder.encode(chunks)]

    return encode


@pytest.fixture
def words(tokenizer):
    """words(text, embeddings, **wording) gives the words in each chunk."""

    def words(text, embeddings=None, **wording):
        chunks = split(text, tokenizer, Wording(**wording), embeddings or {}).chunks
        assert all(len(chunk.ids) == len(chunk.weights) == 77 for chunk in chunks)
        return [
            [i if i >= VOCABULARY else tokenizer.decode([i]) for i in chunk.ids[1 : 1 + chunk.length]]
            for chunk in chunks
        ]

    return words


def weights(text, tokenizer, **wording):
    (chunk,) = split(text, tokenizer, Wording(**wording), {}).chunks
    return chunk.weights[1 : 1 + chunk.length]


def test_a_chunk_is_begin_the_text_end_and_padding(tokenizer):
    (chunk,) = split("a red star", tokenizer, Wording(), {}).chunks
    assert chunk.ids == [BEGIN, *tokenizer("a red star", add_special_tokens=False).input_ids] + [END] * 73
    assert chunk.weights == [1.0] * 77 and chunk.length == 3 and not chunk.full


def test_padding_follows_the_models_tokenizer(plugin):
    like_sd2 = CLIPTokenizer.from_pretrained(plugin.folder / "builtin/tokenizer", local_files_only=True, pad_token="!")
    (chunk,) = split("a", like_sd2, Wording(), {}).chunks
    assert chunk.ids[2:] == [END] + [0] * 74


def test_an_empty_text_is_one_empty_chunk(words):
    assert words("") == words("()") == words("BREAK") == [[]]


def test_75_tokens_fill_a_chunk_and_the_76th_begins_another(words):
    assert [len(chunk) for chunk in words("red " * 75)] == [75]
    assert [len(chunk) for chunk in words("red " * 76)] == [75, 1]
    assert [len(chunk) for chunk in words("red " * 300)] == [75] * 4


def test_break_begins_a_chunk(words):
    assert words("a red BREAK star BREAK") == [["a", "red"], ["star"]]
    assert words("BREAK a") == [[], ["a"]]
    assert words("red " * 75 + "BREAK a") == [["red"] * 75, ["a"]]


def test_break_inside_of_brackets_is_a_word(words):
    assert len(words("(a BREAK b:1.3)")) == 1


def test_a_full_chunk_ends_with_a_comma_that_is_near(words):
    text = "red " * 60 + ", " + "blue " * 20
    assert words(text) == [["red"] * 60 + [","], ["blue"] * 20]
    assert words(text, comma_backtrack=0) == words(text, comma_backtrack=14) == [
        ["red"] * 60 + [","] + ["blue"] * 14, ["blue"] * 6,
    ]  # fmt: skip
    assert [len(chunk) for chunk in words(text, comma_backtrack=15)] == [61, 20]


def test_a_comma_that_does_not_fit_goes_to_the_next_chunk(words):
    assert [len(chunk) for chunk in words("red " * 75 + ", a")] == [75, 2]
    assert [len(chunk) for chunk in words("red " * 70 + ", red red red red, a")] == [75, 2]


def test_weights_are_those_of_the_brackets(tokenizer):
    text = "a (red:1.5) ((star))"
    assert weights(text, tokenizer) == [1.0, 1.5, 1.2100000000000002]
    assert weights(text, tokenizer, emphasis="ignore") == [1.0, 1.0, 1.0]
    assert weights("((red:2))", tokenizer, emphasis="comfyui") == [2.0]


def test_without_emphasis_brackets_and_break_are_words(words):
    assert "".join(words("(a:1.2) BREAK", emphasis="none")[0]) == "(a:1.2)break"


def test_embeddings_are_found_by_the_tokens_of_their_names(words):
    found = words("a red-Star, (red:1.2) star", {"red-star": 3, "star": 1, "dog": 9})
    assert found == [["a", 1600, 1601, 1602, ",", "red", 1603]]
    assert words("a starry", {"star": 1, "red": 2}) == words("a starry")


def test_an_embedding_named_twice_has_its_vectors_once(words):
    assert words("star a star", {"star": 2}) == [[1600, 1601, "a", 1600, 1601]]


def test_the_longest_name_is_found_first(words):
    assert words("red circle", {"red": 1, "red circle": 2}) == [[1600, 1601]]


def test_of_names_with_the_same_letters_the_one_as_written_is_taken(words):
    assert words("a Star", {"STAR": 1, "Star": 2, "star": 3}) == [["a", 1600, 1601]]


def test_an_embedding_is_never_split(words):
    assert [len(chunk) for chunk in words("red " * 70 + "star", {"star": 6})] == [70, 6]
    assert [len(chunk) for chunk in words("red " * 69 + "star", {"star": 6})] == [75]
    assert [len(chunk) for chunk in words("a star", {"star": 75})] == [1, 75]


def test_an_embedding_longer_than_a_chunk_is_refused(words):
    with pytest.raises(InvalidParams, match="'star' has 76 vectors, at most 75"):
        words("a star", {"star": 76})


def test_contexts_are_those_of_the_bare_clip(encode, tokenizer, clip):
    (context,) = encode("a red circle")
    ids = tokenizer(["a red circle"], padding="max_length", return_tensors="pt").input_ids
    torch.testing.assert_close(context, clip(ids).last_hidden_state.detach(), rtol=0, atol=1e-5)


def test_long_prompts_are_encoded_chunk_by_chunk(encode):
    long, first, second = encode("red " * 75 + "blue", "red " * 75, "blue")
    assert long.shape == (1, 154, WIDTH)
    torch.testing.assert_close(long, torch.cat([first, second], dim=1), rtol=0, atol=1e-5)


def test_what_a_prompt_gets_does_not_depend_on_the_others(encode):
    texts = ["a (red:1.5) circle", "", "(blue:0.3) BREAK [green]", "red " * 100]
    for together, text in zip(encode(*texts), texts, strict=True):
        torch.testing.assert_close(together, encode(text)[0], rtol=0, atol=1e-5)


def test_more_chunks_than_are_read_at_once_keep_their_order(encode):
    many = encode("a BREAK " * 40 + "b", "b")
    torch.testing.assert_close(many[0][:, -77:], many[1], rtol=0, atol=1e-5)


def test_clip_skip_takes_an_earlier_layer_and_the_final_norm(encode, tokenizer, clip):
    ids = tokenizer(["a red circle"], padding="max_length", return_tensors="pt").input_ids
    x, model = clip.get_input_embeddings()(ids), getattr(clip, "text_model", clip)
    x = x + model.embeddings.position_embedding.weight
    mask = torch.full((77, 77), -torch.inf).triu(1)[None, None]
    for layer in model.encoder.layers[:-1]:
        x = layer(x, attention_mask=mask)
        x = x[0] if isinstance(x, tuple) else x
    (skipped,) = encode("a red circle", clip_skip=2)
    torch.testing.assert_close(skipped, model.final_layer_norm(x).detach(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("clip_skip", [0, 4, -1])
def test_a_clip_skip_that_the_model_does_not_have_is_refused(encode, clip_skip):
    with pytest.raises(InvalidParams, match=f"clip_skip must be from 1 to 3, got {clip_skip}"):
        encode("a", clip_skip=clip_skip)


def test_original_emphasis_keeps_the_mean_of_the_chunk(encode):
    (plain,), (weighted,) = encode("a red circle"), encode("a (red:1.5) circle")
    weights = torch.ones(1, 77, 1)
    weights[0, 2] = 1.5
    expected = plain * weights
    expected *= plain.mean() / expected.mean()
    torch.testing.assert_close(weighted, expected, rtol=1e-4, atol=1e-5)


def test_no_norm_only_scales(encode):
    (plain,), (weighted,) = encode("a red circle"), encode("a (red:-2) circle", emphasis="no norm")
    torch.testing.assert_close(weighted[0, 2], -2 * plain[0, 2], rtol=0, atol=1e-5)
    torch.testing.assert_close(weighted[0, 3:], plain[0, 3:], rtol=0, atol=1e-5)


def test_ignored_emphasis_is_none(encode):
    assert torch.equal(encode("a red circle")[0], encode("a (red:1.5) [circle]", emphasis="ignore")[0])


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_comfyuis_emphasis_moves_away_from_the_empty_text(encode, clip_skip):
    (plain, empty) = encode("a red circle", "", clip_skip=clip_skip)
    (weighted,) = encode("a (red:1.5) circle", emphasis="comfyui", clip_skip=clip_skip)
    torch.testing.assert_close(weighted[0, 2], empty[0, 2] + 1.5 * (plain - empty)[0, 2], rtol=0, atol=1e-4)
    torch.testing.assert_close(weighted[0, 3:], plain[0, 3:], rtol=0, atol=1e-4)


def test_weights_of_1_change_nothing_whatever_the_emphasis(encode):
    (plain,) = encode("a red circle")
    for emphasis in ("original", "no norm", "ignore", "comfyui"):
        assert torch.equal(plain, encode("a (red:1) circle", emphasis=emphasis)[0])


@pytest.mark.parametrize("text", ["(" * 9000 + "a", "[" * 9000 + "a", "(a:0)" * 75, "(a:99999999999)", "(a:-9e9)"])
@pytest.mark.parametrize("emphasis", ["original", "no norm", "comfyui"])
def test_any_weight_gives_a_finite_context(encode, text, emphasis):
    assert encode(text, emphasis=emphasis)[0].isfinite().all()


def test_a_chunk_whose_mean_vanishes_is_not_rescaled():
    z = torch.tensor([[1.0, -1.0], [1.0, 3.0]], dtype=torch.float16)
    weighted = emphasised(z, torch.tensor([1e6, 0.0]), "original")
    assert weighted.tolist() == [[65504, -65504], [0, 0]]


def test_an_embedding_of_a_words_own_vector_is_that_word(encode, clip, tokenizer):
    (red,) = tokenizer("red", add_special_tokens=False).input_ids
    vector = clip.get_input_embeddings().weight[[red]].detach()
    embeddings = {"myword": vector, "unused": torch.zeros(5, WIDTH)}
    named, plain = encode("a (myword:1.3) circle", embeddings=embeddings), encode("a (red:1.3) circle")
    torch.testing.assert_close(named[0], plain[0], rtol=0, atol=1e-5)


def test_each_prompt_of_a_call_has_its_own_vectors(tokenizer, clip):
    encoder, plain = TextEncoder([tokenizer], [clip], Placement("cpu")), Wording()
    ones, twos = {"myword": torch.ones(2, WIDTH)}, {"myword": torch.full((1, WIDTH), 2.0).half()}
    prompts = [encoder.chunks("a myword", plain, ones), encoder.chunks("red", plain, {})]
    prompts.append(encoder.chunks("a myword", plain, twos))
    with torch.inference_mode():
        together = [condition.context for condition in encoder.encode(prompts)]
        for context, prompt in zip(together, prompts, strict=True):
            torch.testing.assert_close(context, encoder.encode([prompt])[0].context, rtol=0, atol=1e-5)
        assert not torch.allclose(together[0], together[2])


def test_only_embeddings_that_are_named_are_fetched(encode):
    class Lazy(UserDict):  # whose items, too, are got one by one
        def __getitem__(self, name):
            assert name == "myword"
            return super().__getitem__(name)

    (context,) = encode("a myword", embeddings=Lazy(myword=torch.ones(2, WIDTH), other=torch.ones(1, WIDTH)))
    assert context.shape == (1, 77, WIDTH)


def test_an_embedding_for_another_model_is_refused(encode):
    with pytest.raises(InvalidParams, match="'myword' is for another kind of model: its vectors have 768 numbers"):
        encode("myword", embeddings={"myword": torch.ones(1, 768)})


def test_contexts_of_different_length_are_repeated_and_mean_the_same():
    short, long = torch.randn(1, 4, 8), torch.randn(1, 6, 8)
    query = torch.randn(1, 3, 8)
    for before, after in [(context, Condition(context).repeated(12).context) for context in (short, long)]:
        assert after.shape == (1, 12, 8)
        attended = [torch.nn.functional.scaled_dot_product_attention(query, c, c) for c in (before, after)]
        torch.testing.assert_close(*attended)
