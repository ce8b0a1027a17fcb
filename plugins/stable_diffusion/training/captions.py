"""How a scene is put into words: many wordings of the same picture, from full sentences to lists of tags."""

import random

from .drawing import Scene, Thing

NOUNS = {
    "circle": ["circle"] * 6 + ["disc", "ball"],
    "ring": ["ring"] * 4 + ["donut"],
    "cross": ["cross"] * 4 + ["plus"],
    "moon": ["moon"] * 4 + ["crescent moon", "crescent"],
    "smiley": ["smiley face"] * 3 + ["smiley", "happy face", "face"],
}
SIZE_WORDS = {"small": ["small", "small", "tiny", "little"], "large": ["large", "large", "big", "huge"]}
STYLE_WORDS = {"striped": "striped", "dotted": "dotted", "outline": "outlined"}
PREFIXES = ["a picture of", "a drawing of", "an image of", "picture of", "drawing of"]
PRAISE = (
    "masterpiece, best quality, highly detailed, beautiful, simple, cute, clean, 4k, hd, digital art, high quality, "
    "sharp focus, illustration, nice, minimal, vector art, very detailed, trending, art, photo"
).split(", ")
OTHER_WORDS = (
    "a cat, a dog, a horse, an astronaut, castle, city, forest, river, mountain, dragon, robot, car, ship, portrait of "
    "a woman, a man, king, queen, fantasy, dramatic light, studio, realistic, painting, oil on canvas, watercolor, "
    "winter, summer, street, garden, ocean, space, food, bird, fish, old, new, dark, bright, colorful, epic, anime"
).split(", ")


def with_article(words: str) -> str:
    """`words` after "a" or "an"."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def noun(thing: Thing) -> str:
    """The plain word for a thing's shape, as in "a red smiley face"."""
    return "smiley face" if thing.shape == "smiley" else thing.shape


def _colour(name: str, rng: random.Random) -> str:
    return "grey" if name == "gray" and rng.random() < 0.3 else name


def _describe(thing: Thing, rng: random.Random) -> str:
    words = []
    if thing.size in SIZE_WORDS:
        words.append(rng.choice(SIZE_WORDS[thing.size]))
    if thing.style in STYLE_WORDS:
        words.append(STYLE_WORDS[thing.style])
        if rng.random() < 0.3:
            rng.shuffle(words)
    if rng.random() < 0.93:
        words.append(_colour(thing.colour, rng))
    return " ".join([*words, rng.choice(NOUNS.get(thing.shape, [thing.shape]))])


def _background_tag(scene: Scene, rng: random.Random) -> str:
    kind, *names = scene.background
    names = [_colour(name, rng) for name in names]
    if kind == "solid":
        return f"{names[0]} background"
    if kind == "gradient":
        top, bottom = names
        words = rng.choice([f"{top} to {bottom} gradient", f"{top} and {bottom} gradient"])
        return words + rng.choice(["", " background"])
    return rng.choice([kind, f"{kind} sky"])


def _background_phrase(scene: Scene, rng: random.Random) -> str:
    kind, *names = scene.background
    names = [_colour(name, rng) for name in names]
    if kind == "solid":
        (name,) = names
        usual = [f" on {with_article(name)} background"] * 4
        rare = [f" on {name} background", f" on {name}", f" with {with_article(name)} background"]
        return rng.choice([*usual, *rare, f" in front of {with_article(name)} background", f", {name} background"])
    if kind == "gradient":
        top, bottom = names
        gradient = rng.choice(
            [
                f"{top} to {bottom} gradient background",
                f"{top} and {bottom} gradient",
                f"{top} to {bottom} gradient",
                f"gradient from {top} to {bottom}",
            ]
        )
        return rng.choice([" on ", " with "]) + with_article(gradient)
    if kind == "night":
        return rng.choice([" at night", " in the night", " in the night sky", " under the stars"])
    return rng.choice([" at sunset", " in the sunset", " with a sunset"])


def _position_phrase(position: str, rng: random.Random) -> str:
    if position == "center":
        return rng.choice(["in the center", "in the middle", "centered"])
    if " " in position:
        return rng.choice([f"in the {position} corner", f"in the {position}", f"at the {position}"])
    if position in ("left", "right"):
        return rng.choice([f"on the {position}", f"on the {position} side", f"at the {position}"])
    return f"at the {position}"


def _tags(scene: Scene, rng: random.Random, name_background: bool) -> str:
    tags = [_describe(scene.things[0], rng)]
    if name_background:
        tags.append(_background_tag(scene, rng))
    if scene.layout != "center":
        tags.append(scene.layout)
    if rng.random() < 0.6:
        rng.shuffle(tags)
    return ", ".join(tags)


def _relation(scene: Scene, first: str, second: str, rng: random.Random) -> str:
    """Both things and where they are; `first` is on the left or above."""
    if scene.layout == "beside":
        return rng.choice(
            [f"{first} and {second}"] * 6
            + [f"{first} next to {second}"] * 2
            + [f"{first} on the left and {second} on the right"] * 2
            + [f"{first} left of {second}", f"{first} to the left of {second}"]
            + [f"{second} right of {first}", f"{second} to the right of {first}"]
        )
    return rng.choice(
        [f"{first} above {second}"] * 2
        + [f"{first} over {second}", f"{first} on top of {second}"]
        + [f"{second} below {first}", f"{second} under {first}"]
        + [f"{first} at the top and {second} at the bottom"]
    )


def _sentence(scene: Scene, rng: random.Random, name_background: bool) -> str:
    descriptions = [_describe(thing, rng) for thing in scene.things]
    if rng.random() < 0.8:
        descriptions = [with_article(words) for words in descriptions]
    if len(descriptions) == 2:
        words = _relation(scene, *descriptions, rng)
    else:
        words = descriptions[0]
        if scene.layout != "center" or rng.random() < 0.2:
            words += " " + _position_phrase(scene.layout, rng)
    if rng.random() < 0.15:
        words = f"{rng.choice(PREFIXES)} {words}"
    return words + (_background_phrase(scene, rng) if name_background else "")


def caption(scene: Scene, rng: random.Random) -> str:
    """One wording of the scene. It may leave out colours or background, and may hold words that mean nothing.

    Size, place and look are always told unless they are the usual ones (medium, in the center, solid). So a word left
    out means something definite, and the model need not draw the mean of what it could have meant."""
    name_background = rng.random() < 0.9
    as_tags = len(scene.things) == 1 and rng.random() < 0.2
    words = (_tags if as_tags else _sentence)(scene, rng, name_background)
    if rng.random() < 0.12:
        for _ in range(rng.randint(1, 3)):
            extra = rng.choice(PRAISE if rng.random() < 0.7 else OTHER_WORDS)
            words = f"{extra}, {words}" if rng.random() < 0.5 else f"{words}, {extra}"
    if rng.random() < 0.08:
        words = words[0].upper() + words[1:]
    return words + ("." if rng.random() < 0.05 else "")
