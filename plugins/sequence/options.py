"""What can be asked of a sequence: names, defaults, bounds and help of all options."""

from typing import Any, Literal

from core.plugin import Params, param

SEEDS = 2**32
LONGEST = 1_000_000  # characters of a text that is typed, or of settings


class Style(Params):
    style: str = param("", max_length=10_000, order=1, help="What is added to each prompt, after a space.")
    file_tag: str = param(
        "", max_length=60, order=2, help="A short name for the files. Empty: style and its number, counted from 0."
    )
    weight: float = param(
        0.5, ge=0, le=1, step=0.05, order=3,
        help="How much of the picture before is redrawn (denoising_strength). The first picture has none before it.",
    )  # fmt: skip


STYLES = [
    Style(style="photograph, sharp, rich colours", file_tag="photo", weight=0.9),
    Style(style="charcoal drawing, fine lines", file_tag="charcoal", weight=0.1),
]


class SequenceParams(Params):
    story: str = param(
        "", widget="textarea", max_length=LONGEST, order=1,
        help="The text that is drawn. Or give it as the input `text`, or choose a book.",
    )  # fmt: skip
    book: str = param("", choices_from="models/book", order=2, help="A file in models/book: .txt, .md, .epub or .srt.")
    form: Literal["automatic", "plain", "markdown", "subtitles"] = param(
        "automatic", order=3, advanced=True,
        help="How a text that is given is read. automatic: it is Markdown if it has headings with #, subtitles if it "
        "has their times, else plain.",
    )  # fmt: skip
    chapter_split_regex: str = param(
        "", max_length=1000, group="splitting", order=10,
        help="What stands at the beginning of each chapter, as a regular expression: Season\\d+. What is before the "
        "first is left out. Empty: as the text is built, by headings, by lines like Chapter 1, or as one chapter.",
    )  # fmt: skip
    prompt_split_regex: str = param(
        "", max_length=1000, group="splitting", order=11,
        help="What stands between two prompts of a chapter, as a regular expression: \\n. Empty: each line, or "
        "paragraph, or subtitle is a prompt.",
    )  # fmt: skip
    max_chapters: int = param(1, ge=0, le=10_000, group="splitting", order=12, help="At most so many; 0 is all.")
    max_entries_per_chapter: int = param(
        9, ge=0, le=10_000, group="splitting", order=13, help="Prompts of a chapter, at most; 0 is all."
    )
    prompt_override: str = param(
        "", max_length=10_000, group="splitting", order=14,
        help="A prompt in place of all in the text, which then only says how many there are.",
    )  # fmt: skip
    first_prompt: Literal["after the heading", "never", "always"] = param(
        "after the heading", group="splitting", order=15, advanced=True,
        help="Which of a chapter is the first prompt. after the heading: the rest of the line on which the chapter "
        "begins is none. never: the first part is left out in any case, as run_interleave.py does, also where the "
        "heading's line was over. always: it is kept in any case.",
    )  # fmt: skip
    keep_empty: bool = param(
        False, group="splitting", order=16, advanced=True,
        help="Take empty prompts, too, as run_interleave.py does: the style alone is drawn.",
    )  # fmt: skip
    styles: list[Style] = param(
        STYLES, min_length=1, max_length=100, group="styles", order=20, help="Each prompt is drawn once in each style."
    )
    progressive: bool = param(
        True, group="styles", order=21,
        help="Draw each picture from the one before of its style, with the weight of the style as strength. If not, "
        "each is drawn from noise.",
    )  # fmt: skip
    interleave: bool = param(
        True, group="styles", order=22, visible_if={"progressive": True},
        help="After each prompt, each style goes on from the last picture of the next style, the last style from that "
        "of the first.",
    )  # fmt: skip
    cycle_styles: bool = param(
        False, group="styles", order=23,
        help="After each prompt, each file tag gets the text of the next style, and keeps its weight. Also if not "
        "progressive.",
    )  # fmt: skip
    model: str = param(
        "builtin", choices_from="models/checkpoint", group="drawing", order=30, help="Which checkpoint draws."
    )
    negative_prompt: str = param(
        "", widget="textarea", max_length=LONGEST, group="drawing", order=31, help="What to keep away from."
    )
    width: int = param(
        0, ge=0, le=4096, multiple_of=8, step=8, unit="pixels", pairs_with="height", group="drawing", order=32,
        help="Width of the pictures. 0 is the size that the model was made for.",
    )  # fmt: skip
    height: int = param(
        0, ge=0, le=4096, multiple_of=8, step=8, unit="pixels", group="drawing", order=33,
        help="Height of the pictures. 0 is the size that the model was made for.",
    )  # fmt: skip
    steps: int = param(
        50, ge=1, le=150, widget="slider", group="drawing", order=34, help="In how many steps noise is removed."
    )
    cfg_scale: float = param(
        7.5, ge=0, le=30, step=0.5, widget="slider", group="drawing", order=35,
        help="How strictly pictures follow the prompt.",
    )  # fmt: skip
    sampler: str = param(
        "DDIM", max_length=100, group="drawing", order=36, choices=["DDIM", "Euler a", "DPM++ 2M", "PLMS"],
        help="How a step is computed. PLMS is what run_interleave.py drew with, which took no notice of eta.",
    )  # fmt: skip
    schedule: str = param(
        "automatic", max_length=100, group="drawing", order=37, advanced=True,
        help="How the noise is spread over the steps.",
    )  # fmt: skip
    eta: float = param(
        0.1, ge=-1, le=2, step=0.05, group="drawing", order=38,
        help="How much fresh noise DDIM and the ancestral samplers add; 0 is none, -1 what is usual for the sampler.",
    )  # fmt: skip
    seed: int = param(
        -1, ge=-1, le=SEEDS - 1, widget="seed", group="drawing", order=39,
        help="-1: each picture has a random one. Else that of the first prompt; the next prompt of the text has the "
        "next one, in all its styles.",
    )  # fmt: skip
    more: dict[str, Any] = param(
        {}, group="drawing", order=40, advanced=True,
        help='Further parameters of txt2img and img2img, as JSON: {"clip_skip": 2}.',
    )  # fmt: skip
    save_individual: bool = param(
        True, group="results", order=50, help="Give the pictures, too. If not, the grids alone."
    )
    cumulative_grids: bool = param(
        False, group="results", order=51, advanced=True,
        help="Each grid also has the pictures of the chapters before, as those of run_interleave.py.",
    )  # fmt: skip
    preview: bool = param(True, group="results", order=52, help="Show the last picture of the first style meanwhile.")
    key: str = param(
        "", max_length=60, group="results", order=53, help="Names the folder. Empty: as the file of the text."
    )
    folder: str = param(
        "", max_length=300, group="results", order=54, advanced=True,
        help="The folder in outputs/. Empty: KEY/progresive or KEY/independent, then the file tags, then the time.",
    )  # fmt: skip
    settings: str = param(
        "", choices_from="models/sequence", group="settings", order=60,
        help="A file in models/sequence with settings, .json, or .py as run_interleave.py has them.",
    )  # fmt: skip
    config: str = param(
        "", widget="textarea", max_length=LONGEST, group="settings", order=61,
        help="Settings as JSON, or pasted from run_interleave.py: prompt_config, generation_config, style_configs. "
        "What is set above to something else than its default counts more.",
    )  # fmt: skip
