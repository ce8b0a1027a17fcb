"""Taggers as people fetch them: where their tags are from, what they see of a picture, and what is told of it."""

import numpy as np
import PIL.Image
import pytest
from interrogating.tagging import Tagger
from interrogating.wording import is_face
from tiny_models import write_tagger

from core.plugin import InvalidParams

RED = PIL.Image.new("RGB", (20, 20), (255, 0, 0))
TAGS = ["general", "sensitive", "1girl", "long_hair", "^_^", "o_o", "saber_(fate)", "a|b"]
CATEGORIES = [9, 9, 0, 0, 0, 0, 4, 0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def chances(pixel, count):
    """What the tiny tagger says of a picture of one colour."""
    sums = np.linspace(-1, 1, count) + np.float64(pixel)[np.arange(count) % 3]
    return sigmoid(sums.clip(-60, 60)).tolist()


@pytest.fixture
def wd14(tmp_path):
    folder = tmp_path / "models/tagger/wd"
    write_tagger(folder / "model.onnx", len(TAGS))
    rows = [f"{number},{tag},{kind},0" for number, (tag, kind) in enumerate(zip(TAGS, CATEGORIES, strict=True))]
    (folder / "selected_tags.csv").write_text("\n".join(["tag_id,name,category,count", *rows]) + "\n")
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def danbooru(tmp_path):
    folder = tmp_path / "models/tagger"
    write_tagger(folder / "deepdanbooru.onnx", 4, metadata={"tags": "['1girl', 'hat', 'hatsune_miku', 'rating:safe']"})
    return folder / "deepdanbooru.onnx"


def test_wd14_sees_blue_green_red_from_0_to_255(ask, wd14):
    told = ask("tag_scores", PIL.Image.new("RGB", (20, 20), (2, 1, 0)), model="wd", threshold=0, character_threshold=0)
    wanted = dict(zip(TAGS, chances((0, 1, 2), len(TAGS)), strict=True))
    assert told["rating"] | told["general"] | told["character"] == pytest.approx(wanted, abs=1e-3)
    assert [*told["rating"]] == ["sensitive", "general"] and [*told["character"]] == ["saber_(fate)"]


def test_deepdanbooru_sees_red_green_blue_from_0_to_1(ask, danbooru):
    told = ask("tag_scores", RED, model="deepdanbooru.onnx", threshold=0)
    wanted = dict(zip(["1girl", "hat", "hatsune_miku", "rating:safe"], chances((1, 0, 0), 4), strict=True))
    assert told["general"] | told["rating"] == pytest.approx(wanted, abs=1e-3)
    assert [*told["rating"]] == ["rating:safe"]


def test_tags_are_found_in_the_files_beside_the_network(ask, danbooru):
    danbooru.with_name("tags.txt").write_text("a\nb\nmiku\nrating:safe\n")
    danbooru.with_name("tags-character.txt").write_text("miku\n")
    told = ask("tag_scores", RED, model="deepdanbooru.onnx", threshold=0, character_threshold=0)
    assert ({*told["general"]}, {*told["character"]}) == ({"a", "b"}, {"miku"})


def test_networks_and_tags_of_the_same_name_belong_together(ask, wd14):
    (wd14 / "config.json").unlink()
    (wd14 / "selected_tags.csv").rename(wd14.parent / "moat.csv")
    (wd14 / "model.onnx").rename(wd14.parent / "moat.onnx")
    assert "1girl" in ask("tag", RED, model="moat.onnx", threshold=0).value


def test_a_folder_without_config_is_its_network(ask, wd14):
    (wd14 / "config.json").unlink()
    assert "1girl" in ask("tag", RED, model="wd/model.onnx", threshold=0).value


@pytest.mark.parametrize(
    "given, text",
    [
        ({}, r"a|b, saber \(fate\), o_o, ^_^, long hair, 1girl"),
        ({"sort": "model"}, r"1girl, long hair, ^_^, o_o, a|b, saber \(fate\)"),
        ({"sort": "alphabet", "most": 3}, r"a|b, o_o, saber \(fate\)"),
        ({"escape": False, "spaces": False, "exclude": "O_O, a|b,1girl"}, "saber_(fate), ^_^, long_hair"),
        ({"exclude": r"saber \(fate\), Long Hair, o_o, ^_^"}, "a|b, 1girl"),
        ({"rating": True, "most": 1, "weights": True}, "(sensitive:0.91), (a|b:0.98)"),
        ({"threshold": 1, "character_threshold": 1}, ""),
    ],
)
def test_tags_are_written_as_asked(ask, wd14, given, text):
    picture = PIL.Image.new("RGB", (8, 8), (3, 3, 3))  # grey, so the later a tag stands, the likelier it is
    assert ask("tag", picture, model="wd", **{"threshold": 0.1, "character_threshold": 0.1} | given).value == text


@pytest.mark.parametrize("face", ["^_^", "o_o", ">_<", "|_|", "0_0", "<|>_<|>", "(o)_(o)", "+_-", "x_x"])
def test_faces_keep_their_mouth(face):
    assert is_face(face)


@pytest.mark.parametrize("tag", ["long_hair", "1girl", "no_hat", "blue_sky", "hair_o"])
def test_other_tags_are_no_faces(tag):
    assert not is_face(tag)


def test_facts_have_the_scores(ask, wd14):
    found = ask("tag", RED, model="wd", threshold=0.9)
    assert found.facts["model"] == "wd" and len(found.facts["rating"]) == 2
    assert found.facts["scores"] == {"1girl": 1.0, "o_o": 1.0}  # of the tags that depend on red, the last plane


def test_output_without_its_last_step_is_understood(ask, danbooru):
    with_it = ask("tag_scores", RED, model="deepdanbooru.onnx", threshold=0)
    write_tagger(danbooru, 4, metadata={"tags": "['1girl', 'hat', 'hatsune_miku', 'rating:safe']"}, last=None)
    without = ask("tag_scores", RED, model="deepdanbooru.onnx", threshold=0)
    assert without["general"] == pytest.approx(with_it["general"], abs=1e-3)


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda file: file.write_bytes(file.read_bytes()[:200]), "onnxruntime cannot read it"),
        (lambda file: file.write_bytes(b""), "cannot read it"),
        (lambda file: file.with_name("selected_tags.csv").unlink(), "nothing says what its outputs mean"),
        (
            lambda file: file.with_name("selected_tags.csv").write_text("name\n1girl\n"),
            "its list of tags cannot be read",
        ),
        (lambda file: file.with_name("selected_tags.csv").write_bytes(b"\xff\xfe"), "its list of tags cannot be read"),
        (lambda file: file.with_name("selected_tags.csv").write_text("name,category\na,0\n"), "there are 1 tags"),
        (lambda file: file.unlink(), "no .onnx files"),
        (lambda file: write_tagger(file, 8, layout="NCHW"), r"taggers take one picture \(N, H, W, 3\)"),
        (lambda file: write_tagger(file, 8, side=5000), "pictures of 5000 pixels"),
        (lambda file: write_tagger(file, 8, last="Log"), "not all finite"),
    ],
)
def test_what_cannot_be_used_is_told(ask, wd14, spoil, why):
    spoil(wd14 / "model.onnx")
    with pytest.raises(InvalidParams, match=f"models/tagger/wd cannot be used: .*{why}"):
        ask("tag", RED, model="wd")


@pytest.mark.parametrize("tags", ["__import__('os').system('false')", "[1, 2", "{}", "None", "[" * 5000])
def test_a_list_inside_the_network_is_no_code(ask, danbooru, tags):
    write_tagger(danbooru, 4, metadata={"tags": tags})
    with pytest.raises(InvalidParams, match="deepdanbooru.onnx cannot be used: its list"):
        ask("tag", RED, model="deepdanbooru.onnx")


def test_weights_for_another_library_are_refused(ask, tmp_path):
    (tmp_path / "models/tagger").mkdir(parents=True)
    (tmp_path / "models/tagger/model-resnet_custom_v3.pt").write_bytes(b"PK")
    with pytest.raises(InvalidParams, match="it is no .onnx file"):
        ask("tag", RED, model="model-resnet_custom_v3.pt")


def test_a_changed_file_is_read_again(ask, plugin, danbooru):
    ask("tag", RED, model="deepdanbooru.onnx")
    first = plugin._loaded._kept["tagger"][1]
    ask("tag", RED, model="deepdanbooru.onnx")
    assert plugin._loaded._kept["tagger"][1] is first
    write_tagger(danbooru, 2, metadata={"tags": "['a', 'b']"})
    assert {*ask("tag_scores", RED, model="deepdanbooru.onnx", threshold=0)["general"]} == {"a", "b"}


def test_little_memory_makes_the_other_kinds_leave(ask, plugin, ctx, danbooru):
    plugin._loaded._kept["clip"] = "key", object()
    ctx.low_memory = True
    ask("tag", RED, model="deepdanbooru.onnx")
    assert [*plugin._loaded._kept] == ["tagger"]


def test_tagger_says_the_same_of_a_picture_and_of_the_picture_on_white(danbooru):
    tagger = Tagger("deepdanbooru.onnx", danbooru, "cpu")
    clear = PIL.Image.new("RGBA", (20, 20), (10, 20, 30, 0))
    assert tagger.tags(clear) == tagger.tags(PIL.Image.new("RGB", (20, 20), "white"))
