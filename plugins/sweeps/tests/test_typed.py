"""Values as people write them."""

import pytest
from sweeps.typed import put, schema_of, value_of, values_of


def known(kind):
    return {"checkpoint": ["builtin", "art/Night.safetensors", "day.ckpt"]}.get(kind, [])


@pytest.mark.parametrize(
    "parameter, text, values",
    [
        ("steps", "1-5 (+2), 10", [1, 3, 5, 10]),
        ("cfg_scale", "0-1 [3]", [0, 0.5, 1]),
        ("cfg_scale", "[7, 7.5]", [7, 7.5]),
        ("prompt", 'a cat, "red, blue"', ["a cat", "red, blue"]),
        ("sampler", "euler A, DDIM", ["Euler a", "DDIM"]),
        ("sampler", "*", ["Euler a", "DDIM"]),
        ("tiling", "yes, False", [True, False]),
        ("tiling", "*", [False, True]),
        ("styles", '"a, b", c', [["a", "b"], ["c"]]),
        ("styles", '[[], ["a"]]', [[], ["a"]]),
        ("model", "night, art/night.safetensors, day", ["art/Night.safetensors"] * 2 + ["day.ckpt"]),
        ("model", "*", ["builtin", "art/Night.safetensors", "day.ckpt"]),
        ("limit", "1-3", [1, 2, 3]),
        ("units.0.weight", "0.5, 1", [0.5, 1]),
        ("seed", "-1, 7", [-1, 7]),
    ],
)
def test_values_have_the_type_of_their_parameter(schema, parameter, text, values):
    found = values_of(text, schema_of(parameter, schema), known)
    assert found == values and [*map(type, found)] == [
        float if parameter in ("cfg_scale", "units.0.weight") and not text.startswith("[") else type(each)
        for each in values
    ]


@pytest.mark.parametrize(
    "parameter, text, told",
    [
        ("steps", "0", "0 is out of bounds: at least 1, at most 150"),
        ("steps", "a", "'a' is no whole number"),
        ("steps", " ,", "there are no values"),
        ("width", "12", "12 is no multiple of 8"),
        ("sampler", "Eulr", "did you mean Euler|Did you mean Euler"),
        ("tiling", "maybe", "neither true nor false"),
        ("model", "nigth", "none of the choices"),
        ("prompt", "*", "this parameter has none"),
        ("prompt", "x" * 101, "101 characters is longer than 100"),
        ("units", "a", "is no JSON"),
        ("steps", "[1", "no JSON list"),
        ("limit", "0", "at least 1"),
    ],
)
def test_what_is_no_value_is_told(schema, parameter, text, told):
    with pytest.raises(ValueError, match=told):
        values_of(text, schema_of(parameter, schema), known)


def test_a_parameter_that_is_not_there_is_told_with_what_was_meant(schema):
    with pytest.raises(ValueError, match="no parameter 'stepz'. Did you mean steps"):
        schema_of("stepz", schema)
    with pytest.raises(ValueError, match="no parameter 'wieght' of units.0. Did you mean weight"):
        schema_of("units.0.wieght", schema)


def test_a_value_goes_into_what_is_there():
    params = {"units": [{"weight": 1}]}
    put(params, "units.0.weight", 0.5)
    put(params, "steps", 4)
    assert params == {"units": [{"weight": 0.5}], "steps": 4}
    with pytest.raises(ValueError, match="there is no 1 yet"):
        put(params, "units.1.weight", 0.5)


def test_one_value_is_read_as_it_is(schema):
    assert value_of("a, b", schema_of("prompt", schema), known) == "a, b"
    assert value_of("7", schema_of("steps", schema), known) == 7
    with pytest.raises(ValueError):
        value_of("1-3", schema_of("steps", schema), known)
