"""Names that tell families."""

from batch_plugin import names


def test_a_name_is_read_from_the_last_at_whatever_the_root_has():
    assert names.family("AbC_-x9@0_2_1.png") == "AbC_-x9@0_2_1"
    assert names.family("a@b@3 (2).webp") == "a@b@3" and names.family("a@3_0-2") == "a@3_0"
    assert names.family("holiday.png") is names.family("me@home.png") is names.family(None) is None


def test_children_have_the_path_of_their_parent_and_one_number_more():
    assert names.child("root", 0) == "root@0" and names.child("root@0_2", 1) == "root@0_2_1"
    assert names.next_number("r@0", ["r@0", "r@0_0", "r@0_4_7", "r@01_9", None]) == 5
    assert names.next_number("r@0", []) == 0


def test_sorted_by_name_a_family_stays_together_also_with_more_than_ten():
    family = [names.child("r@0", k, 12) for k in range(12)]
    made = [name for each in family for name in (each, names.child(each, 0))]
    assert sorted(made) == made and made[2] == "r@0_01"


def test_roots_begin_with_the_time():
    made = [names.new_root() for _ in range(50)]
    assert len({*made}) == 50 and [each[:10] for each in made] == sorted(each[:10] for each in made)
    assert {*map(len, made)} == {16} and not set("".join(made)) - set(names.DIGITS)
