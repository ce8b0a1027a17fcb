"""Styles are what A1111's styles.csv says, and nobody's change to that file is lost."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sd import styles
from sd.styles import Style

from core.plugin import InvalidParams

CSV = '\ufeffname,prompt,negative_prompt\r\nInk, ink drawing, photo\r\n"Oil ","oil, thick\nstrokes of ""paint""",\r\n'


def write(folder, text):
    (folder / "styles").mkdir(exist_ok=True)
    (folder / "styles/styles.csv").write_text(text, encoding="utf-8", newline="")


def test_a_file_of_a1111_is_read(tmp_path):
    write(tmp_path, CSV)
    assert styles.read(tmp_path) == {
        "Ink": Style("Ink", "ink drawing", "photo"),
        "Oil ": Style("Oil ", 'oil, thick\nstrokes of "paint"', ""),
    }


def test_without_a_file_or_with_an_empty_one_there_are_no_styles(tmp_path):
    assert styles.read(tmp_path) == {}
    write(tmp_path, "")
    assert styles.read(tmp_path) == {}
    assert styles.apply([], " a cat ", "", {}) == (" a cat ", "")


def test_the_old_columns_dividers_short_rows_and_empty_lines_are_understood(tmp_path):
    write(tmp_path, "name,text\n#### mine ####,\nInk,ink\n\n,nothing\nBare\n")
    assert styles.read(tmp_path) == {"Ink": Style("Ink", "ink"), "Bare": Style("Bare")}


def test_styles_are_applied_in_order_around_the_prompt_or_behind_it():
    known = {
        "behind": Style("behind", " oil ", "photo"),
        "around": Style("around", "a [{prompt}] by {prompt}", "{prompt}, blurry"),
        "negative": Style("negative", "", "ugly"),
    }
    assert styles.apply(["behind"], "a cat ", "", known) == ("a cat, oil", "photo")
    assert styles.apply(["behind"], "", " text", known) == ("oil", "text, photo")
    assert styles.apply(["around", "behind"], "x", "", known) == ("a [x] by x, oil", ", blurry, photo")
    assert styles.apply(["behind", "around"], "x", "", known) == ("a [x, oil] by x, oil", "photo, blurry")
    assert styles.apply(["negative"], " two\n lines ", "", known) == (" two\n lines ", "ugly")


def test_an_unknown_style_is_refused_with_the_nearest_names():
    with pytest.raises(InvalidParams, match="there is no style 'Inc'. Did you mean Ink?") as refused:
        styles.apply(["Inc"], "", "", {"Ink": Style("Ink"), "Watercolour": Style("Watercolour")})
    assert refused.value.wire()["field"] == "styles"


def test_styles_that_blow_up_the_prompt_are_refused_before_they_do():
    doubling = {"twice": Style("twice", "{prompt}{prompt}")}
    with pytest.raises(InvalidParams, match="over 20,000 characters"):
        styles.apply(["twice"] * 200, "a cat", "", doubling)


@pytest.mark.parametrize(
    "text", ['a, b: "c"', "two\nlines\r\nand\rmore", "", '"', ' spaces ', "{prompt}", "ä 猫 🐈", "# no", "a;b|c\t", ","]
)  # fmt: skip
def test_a_text_is_read_as_it_was_saved(tmp_path, text):
    styles.save(tmp_path, "One", text, text)
    styles.save(tmp_path, "Two", text, "")
    assert styles.read(tmp_path) == {"One": Style("One", text, text), "Two": Style("Two", text, "")}


def test_saving_changes_one_row_and_keeps_all_others_with_their_columns(tmp_path):
    write(tmp_path, "name,prompt,negative_prompt,colour\n#mine,,,\nInk,ink,,black\nOil,oil,,\n")
    styles.save(tmp_path, "Ink", "indian ink", "grey")
    styles.save(tmp_path, " Chalk ", "chalk", "")
    with (tmp_path / "styles/styles.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [("#mine", "", "", ""), ("Ink", "indian ink", "grey", "black"), ("Oil", "oil", "", ""),
                    ("Chalk", "chalk", "", "")]  # fmt: skip


def test_of_equal_names_the_last_counts_and_is_changed(tmp_path):
    write(tmp_path, "name,prompt\nInk,first\nInk,second\n")
    assert styles.read(tmp_path)["Ink"].prompt == "second"
    styles.save(tmp_path, "Ink", "third", "")
    assert styles.read(tmp_path)["Ink"].prompt == "third"
    styles.delete(tmp_path, "Ink")
    assert styles.read(tmp_path) == {}


def test_the_file_before_a_change_is_kept(tmp_path):
    write(tmp_path, CSV)
    styles.save(tmp_path, "New", "new", "")
    assert (tmp_path / "styles/styles.csv.bak").read_text("utf-8") == CSV.replace("\r\n", "\n")


def test_a_deleted_style_is_gone_and_an_unknown_one_is_refused(tmp_path):
    write(tmp_path, CSV)
    styles.delete(tmp_path, "Ink")
    assert [*styles.read(tmp_path)] == ["Oil "]
    with pytest.raises(InvalidParams, match="there is no style 'Ink'"):
        styles.delete(tmp_path, "Ink")


@pytest.mark.parametrize("name", ["", "  ", "#mine", "two\nlines", "x" * 101, "\0"])
def test_a_name_that_cannot_be_read_again_is_refused(tmp_path, name):
    with pytest.raises(InvalidParams, match="a style cannot be called"):
        styles.save(tmp_path, name, "", "")
    assert not (tmp_path / "styles/styles.csv").exists()


@pytest.mark.parametrize("text", ["x" * 20_001, "a\0b"])
def test_a_text_that_would_damage_the_file_is_refused(tmp_path, text):
    with pytest.raises(InvalidParams, match="20,000 characters"):
        styles.save(tmp_path, "Ink", "", text)


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"name,prompt\nInk,\xff\n", "no UTF-8"),
        (b"title,prompt\nInk,ink\n", "its first line"),
        (b"\n", "its first line"),
        (b'name,prompt\nInk,"ink\nOil,oil\n', "a quote is not closed"),
        (b"name,prompt,negative_prompt\nInk,ink, grey, dull, old\n", "line 2 has 5 columns"),
    ],
)
def test_a_damaged_file_is_reported_and_left_alone(tmp_path, data, problem):
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles/styles.csv").write_bytes(data)
    with pytest.raises(InvalidParams, match=f"styles.csv is damaged: .*{problem}"):
        styles.read(tmp_path)
    with pytest.raises(InvalidParams, match="damaged"):
        styles.save(tmp_path, "New", "", "")
    assert (tmp_path / "styles/styles.csv").read_bytes() == data
    assert not (tmp_path / "styles/styles.csv.bak").exists()


def test_a_space_behind_a_quote_is_no_damage(tmp_path):
    write(tmp_path, 'name,prompt\nInk, "ink, black" \nDisk,a 5" disk\n')
    assert [style.prompt for style in styles.read(tmp_path).values()] == ["ink, black ", 'a 5" disk']


def test_a_link_to_the_file_of_a1111_stays_one(tmp_path):
    (tmp_path / "models/styles").mkdir(parents=True)
    (tmp_path / "models/styles/styles.csv").symlink_to(tmp_path / "theirs.csv")
    styles.save(tmp_path / "models", "Ink", "ink", "")
    assert (tmp_path / "models/styles/styles.csv").is_symlink() and "Ink" in (tmp_path / "theirs.csv").read_text()


SAVE_MANY = """
import sys
from pathlib import Path
import conftest
from sd import styles
for number in range(10):
    styles.save(Path(sys.argv[1]), f"{sys.argv[2]} {number}", "x" * number, "")
"""


def test_processes_that_save_at_the_same_time_lose_nothing(tmp_path):
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    processes = [
        subprocess.Popen([sys.executable, "-c", SAVE_MANY, str(tmp_path), who], env=os.environ | {"PYTHONPATH": path})
        for who in "abc"
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert {*styles.read(tmp_path)} == {f"{who} {number}" for who in "abc" for number in range(10)}
