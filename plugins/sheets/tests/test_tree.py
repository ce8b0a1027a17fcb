"""Families: who belongs to one, and where each stands."""

import itertools
import random
import types

import pytest
from stable_core_plugin_sheets import LineageParams, Member, TreeParams
from stable_core_plugin_sheets.family import family_of
from stable_core_plugin_sheets.tree import blocks_of, laid_out

from core.plugin import Artifact


def laid(count, arrows, **given):
    params = TreeParams(members=[Member()] * count, arrows=arrows, **given)
    return laid_out(*blocks_of(count, arrows), params)


def test_many_of_the_same_parents_stand_in_a_block():
    arrows = [[0, k] for k in range(1, 6)] + [[5, 6], [5, 7], [5, 8]]
    blocks, between = blocks_of(9, arrows)
    assert blocks == [[0], [1, 2, 3, 4], [5], [6], [7], [8]]
    assert between == [(0, 1), (0, 2), (2, 3), (2, 4), (2, 5)]


@pytest.mark.parametrize("seed", range(6))
def test_nobody_stands_on_another_and_arrows_lead_down(seed):
    rng = random.Random(seed)
    count = 40
    most = 1 if seed % 2 else 3  # parents: a tree, or not
    arrows = sorted({(rng.randrange(k), k) for k in range(1, count) for _ in range(rng.randint(1, most))})
    page = laid(count, [*map(list, arrows)])
    boxes = [
        (block.x - block.width / 2, block.y, block.x + block.width / 2, block.y + block.height) for block in page.blocks
    ]
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert min(box[0] for box in boxes) >= 0 and max(box[2] for box in boxes) <= page.width <= 4096
    assert max(box[3] for box in boxes) < page.height <= 4096
    for way in page.ways:
        heights = [y for _, y in way]
        assert heights == sorted(heights)


def test_a_page_shrinks_as_far_as_it_has_to():
    large, small = laid(30, [[k, k + 1] for k in range(29)]), laid(30, [[k, k + 1] for k in range(29)], max_side=3000)
    assert large.height > 3000 >= small.height and small.side < large.side


def test_a_tree_is_drawn_also_where_arrows_go_round(run, squares):
    members = [{"picture": 0, "caption": "one", "asked": True}, {"review": "picked"}, {"review": "rejected"}]
    tree = run("family_tree", squares(1), members=members, arrows=[[0, 1], [1, 2], [2, 0], [0, 2]], title="Round")
    colors = {color for _, color in tree.getcolors(100_000)}
    assert {(22, 122, 58), (196, 32, 32), (30, 90, 200)} <= colors


class Lineage:
    """A context that knows who was made from whom: {"b": ["a"]}; an upper case letter is the same picture."""

    def __init__(self, parents, jobs=None):
        self.parents, self.jobs = parents, jobs or {}

    def artifact(self, id):
        return Artifact(id, "image", id.lower(), {"seed": 7})

    def lineage(self, artifact, direction, depth, limit):
        children = lambda id: [each for each in self.parents if id in self.parents[each]]  # noqa: E731
        step = {"ancestors": lambda id: self.parents.get(id, []), "descendants": children}[direction]
        found, level = {}, [artifact.id]
        for number in range(1, depth + 1):
            level = [other for id in level for other in step(id) if other not in found]
            found |= dict.fromkeys(level, number)
        about = {"review": "new", "name": None}
        return [
            about | {"artifact": self.artifact(id), "parents": self.parents.get(id, []), "depth": number}
            | {"job_name": self.jobs.get(id, "draw.job")} | ({"review": "picked"} if id == "c" else {})
            for id, number in found.items()
        ][:limit]  # fmt: skip


def family(lineage, id, **given):
    found = family_of(lineage.artifact(id), LineageParams(**given), lineage)
    names = [member["id"] for member in found["members"]]
    return {(names[a], names[b]) for a, b in found["arrows"]} or {*names}, found["members"]


def test_all_relatives_are_those_of_the_oldest():
    lineage = Lineage({"b": ["a"], "c": ["a"], "d": ["b"], "e": ["c"]})
    assert family(lineage, "d")[0] == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "e")}
    assert family(lineage, "c", relatives="descendants")[0] == {("a", "c"), ("c", "e")}
    assert family(lineage, "d", relatives="ancestors")[0] == {("a", "b"), ("b", "d")}
    assert family(lineage, "a", relatives="ancestors")[0] == {"a"}


def test_the_limit_keeps_the_nearest():
    lineage = Lineage({"b": ["a"], "c": ["b"], "d": ["c"], "e": ["d"]})
    assert family(lineage, "c", limit=3)[0] == {("b", "c"), ("c", "d")}


def test_what_was_handed_on_is_one_member_and_keeps_its_review():
    lineage = Lineage({"C": ["b"], "c": ["C"], "b": ["a"], "d": ["c"]})
    arrows, members = family(lineage, "d")
    assert arrows == {("a", "b"), ("b", "C"), ("C", "d")}
    assert [(member["id"], member["review"], member["asked"]) for member in members if member["id"] in "Cd"] == [
        ("d", "new", True), ("C", "picked", False),
    ]  # fmt: skip
    assert family(lineage, "c")[1][0]["review"] == "picked"  # also of the one that was asked for


def test_sheets_do_not_belong_to_the_family():
    jobs = {"s": "sheets.contact_sheet", "g": "sequence.grid"}
    lineage = Lineage({"b": ["a"], "s": ["a", "b"], "g": ["b"], "t": ["s"]}, jobs)
    assert family(lineage, "b")[0] == {("a", "b")}
    assert family(lineage, "b", label="seed")[1][0]["caption"] == "seed 7"
    assert types.SimpleNamespace(**family(lineage, "b")[1][0]).caption == "job"
