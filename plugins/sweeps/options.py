"""What can be asked of each job: names, defaults, bounds and help."""

from typing import Any, Literal

import PIL.ImageColor
import pydantic

from core.plugin import Params, param

from .axes import AXES

SEEDS = 2**32
TEXT = {"widget": "textarea", "max_length": 100_000}
JOBS = "call/jobs"
SAMPLERS = ["Euler a", "Euler", "DPM++ 2M", "DPM++ 2M SDE", "DDIM", "UniPC", "PLMS"]  # that forms offer
SCHEDULES = ["automatic", "karras", "exponential"]


class Sheet(Params):
    """How results are put on one picture."""

    legend: bool = param(True, group="grid", order=80, help="Write the values beside rows and columns.")
    margin: int = param(
        0, ge=0, le=500, step=2, unit="pixels", group="grid", order=81, help="Space between the pictures of the grid."
    )
    title: str = param("", max_length=500, group="grid", order=82, help="Stands above the grid.")
    background: str = param(
        "white", max_length=50, examples=["white", "black", "#202020"], group="grid", order=86, advanced=True,
        help="Colour behind the pictures: name or #rrggbb.",
    )  # fmt: skip

    @pydantic.field_validator("background")
    @classmethod
    def _is_a_color(cls, name: str) -> str:
        PIL.ImageColor.getrgb(name)  # its ValueError says what is wrong
        return name

    max_megapixels: float = param(
        50, ge=0.1, le=150, group="grid", order=83, advanced=True,
        help="Everything in the grid is made smaller where it would have more pixels.",
    )  # fmt: skip


class GridParams(Sheet):
    columns: int = param(0, ge=0, le=10_000, help="Pictures in each row. 0: as near to a square as it goes.")
    above: list[str] = param([], max_length=10_000, help="What stands above each column.")
    beside: list[str] = param([], max_length=10_000, help="What stands beside each row.")
    captions: list[str] = param([], max_length=10_000, help="What stands below each picture.")
    empty: list[int] = param([], max_length=10_000, help="Places, counted from 0, at which there is no picture.")


class Results(Sheet):
    """Of programs whose results are a grid, and what is in it."""

    grid: bool = param(True, group="grid", order=79, help="Return all pictures in one grid.")
    cells: bool = param(
        False, group="grid", order=84,
        help="Return the pictures themselves, after the grid. They are results of the jobs in any case.",
    )  # fmt: skip
    sub_grids: bool = param(
        False, group="grid", order=85, help="With a third axis: return a grid of each of its values."
    )


class Axis(Params):
    """One parameter and its values."""

    parameter: str = param(
        ..., min_length=1, max_length=200, examples=["steps", "cfg_scale", "sampler", "prompt s/r"],
        help="A parameter of the job, also inside others: controlnets.0.weight. Or prompt s/r: the first value is "
        "searched in the prompts and replaced by each of them. Or prompt order: the words in all orders.",
    )  # fmt: skip
    values: str = param(
        ..., max_length=100_000, examples=["4, 8, 16", "1-5", "1-10 (+3)", "0-1 [5]"],
        help='With commas between, "in quotes" where there is one inside. Of numbers also 1-5, 1-5 (+2) and 1-10 [4], '
        "which are 4 from 1 to 10. * is all there are. A JSON list is taken as it is.",
    )  # fmt: skip
    zip: str = param(
        "", max_length=100,
        help="Axes with the same word here go side by side, first value with first value; the others are crossed.",
    )  # fmt: skip


class SweepParams(Results):
    job: str = param("txt2img", choices_from=JOBS, order=1, help="Which job is run for each cell.")
    params: dict[str, Any] = param({}, order=2, help="Its parameters that stay the same, as JSON.")
    inputs: dict[str, Any] = param(
        {}, order=3, advanced=True, help='More inputs of it, by name: ids of artifacts, such as {"control": "ID"}.'
    )
    axes: list[Axis] = param(
        [], max_length=20, order=4,
        help="What changes. The first one goes across, the second down, each further one makes grids of its own.",
    )  # fmt: skip
    runs: int = param(
        1, ge=1, le=10_000, order=5, help="How often each cell is run, each time with the next seed: one more axis."
    )
    random_seeds: bool = param(
        False, order=6, advanced=True,
        help="A seed of -1 is another one for each cell. If not, it is drawn once, and all cells have it.",
    )  # fmt: skip


class Drawing(Results):
    """What programs that draw have in common, by the names that the drawing jobs have."""

    prompt: str = param(
        "", **TEXT, order=1, examples=["a red circle on a blue background"], help="What the pictures show."
    )
    negative_prompt: str = param("", **TEXT, order=2, help="What to keep away from.")
    steps: int = param(20, ge=1, le=150, widget="slider", group="sampling", order=30, help="Steps of each picture.")
    cfg_scale: float = param(
        7, ge=0, le=30, step=0.5, widget="slider", group="sampling", order=31,
        help="How strictly a picture follows the prompt.",
    )  # fmt: skip
    denoising_strength: float = param(
        0.75, ge=0, le=1, step=0.05, widget="slider", group="sampling", order=32,
        help="With a picture: how much of it is redrawn.",
    )  # fmt: skip
    sampler: str = param(
        "", max_length=100, group="sampling", order=33, choices=SAMPLERS,
        help="How a step is computed. Empty: as the job does by itself.",
    )  # fmt: skip
    schedule: str = param(
        "", max_length=100, group="sampling", order=34, advanced=True, choices=SCHEDULES,
        help="How the noise is spread over the steps. Empty: as the job does by itself.",
    )  # fmt: skip
    seed: int = param(
        -1, ge=-1, le=SEEDS - 1, widget="seed", group="sampling", order=35,
        help="Seed of all pictures, unless it is varied. -1: a random one, the same for all.",
    )  # fmt: skip
    width: int = param(
        0, ge=0, le=4096, multiple_of=8, step=8, unit="pixels", pairs_with="height", group="size", order=20,
        help="Width of each picture. 0: what the model was made for, or that of the picture to begin with.",
    )  # fmt: skip
    height: int = param(
        0, ge=0, le=4096, multiple_of=8, step=8, unit="pixels", group="size", order=21, help="Height of each picture."
    )
    model: str = param(
        "", choices_from="models/checkpoint", order=10, help="Which checkpoint draws. Empty: the job's own."
    )
    job: str = param(
        "", choices_from=JOBS, advanced=True, order=11,
        help="Which job draws. Empty: txt2img; with a picture img2img; with a mask, too, inpaint.",
    )  # fmt: skip
    more: dict[str, Any] = param({}, advanced=True, order=90, help="More parameters of that job, as JSON.")


class Plot(Drawing):
    x_type: str = param(
        "Seed", max_length=200, choices=[*AXES], group="axes", order=3,
        help="What changes from left to right: one of these, or any parameter of the job by its name.",
    )  # fmt: skip
    x_values: str = param(
        "", max_length=100_000, group="axes", order=4, examples=["1-5", "1-10 (+3)", "0-1 [5]", "Euler a, DDIM"],
        help='With commas between, "in quotes" where there is one inside; of numbers also 1-5, 1-5 (+2) and 1-10 [4], '
        "which are 4 from 1 to 10. * is all there are.",
    )  # fmt: skip
    y_type: str = param("Nothing", max_length=200, choices=[*AXES], group="axes", order=5, help="From above to below.")
    y_values: str = param("", max_length=100_000, group="axes", order=6, help="The values of Y.")
    z_type: str = param("Nothing", max_length=200, choices=[*AXES], group="axes", order=7, help="From grid to grid.")
    z_values: str = param("", max_length=100_000, group="axes", order=8, help="The values of Z.")
    random_seeds: bool = param(
        False, group="seeds", order=40, advanced=True,
        help="Keep -1 for seeds: another one for each picture. If not, it is drawn once, and all have it.",
    )  # fmt: skip
    vary_x: bool = param(False, group="seeds", order=41, advanced=True, help="Count the seed up along X.")
    vary_y: bool = param(False, group="seeds", order=42, advanced=True, help="Count the seed up along Y.")
    vary_z: bool = param(False, group="seeds", order=43, advanced=True, help="Count the seed up along Z.")


class PromptMatrix(Drawing):
    at_start: bool = param(False, group="matrix", order=3, help="Put the chosen parts before the first one.")
    different_seeds: bool = param(False, group="matrix", order=4, help="Another seed for each picture: the next one.")
    part_of: Literal["prompt", "negative_prompt"] = param(
        "prompt", group="matrix", order=5, help="Which prompt has parts: always this|perhaps this|perhaps that."
    )
    joint: Literal["comma", "space"] = param("comma", group="matrix", order=6, help="What stands between the parts.")


class PromptsFrom(Drawing):
    grid: bool = param(False, group="grid", order=79, help="Return all pictures in one grid, too.")
    cells: bool = param(True, group="grid", order=84, help="Return the pictures.")
    prompts: str = param(
        "", widget="textarea", max_length=900_000, order=0,
        examples=["a red circle\n--prompt \"a green star\" --steps 10 --seed 7"],
        help='A picture for each line: a prompt, or options such as --prompt "a cat" --steps 10. Or give a text file.',
    )  # fmt: skip
    iterate_seed: bool = param(False, group="seeds", order=40, help="Each line has the next seed.")
    same_seed: bool = param(
        False, group="seeds", order=41, visible_if={"iterate_seed": False},
        help="A seed of -1 is one for all lines. If not, each has its own.",
    )  # fmt: skip
    insert: Literal["start", "end"] = param(
        "start", order=3, help="Where the prompts of a line are put into those above, if there are any."
    )
    unknown_options: Literal["refuse", "prompt"] = param(
        "refuse", advanced=True, order=4,
        help="A line whose options are not understood is an error, or, as in A1111, wholly a prompt.",
    )  # fmt: skip


class EachFile(Results):
    grid: bool = param(False, group="grid", order=79, help="Return all pictures in one grid, too.")
    cells: bool = param(True, group="grid", order=84, help="Return the pictures.")
    job: str = param("img2img", choices_from=JOBS, order=1, help="Which job is run for each picture.")
    params: dict[str, Any] = param({}, order=2, help="Its parameters, as JSON.")
    input: str = param("", max_length=100, order=3, advanced=True, help="Which of its inputs. Empty: the first one.")
    seeds: Literal["same", "count"] = param(
        "same", order=4, help="A seed of -1 is drawn once. same: all have it; count: each file has the next one."
    )
