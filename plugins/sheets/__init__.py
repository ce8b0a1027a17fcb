"""Pictures of pictures: contact sheets, family trees, and plots of how colours drift."""

from typing import Annotated, Literal

from core.plugin import Context, Image, Params, Plugin, Result, job, param

COLOR = {"max_length": 50, "examples": ["white", "black", "#202020"]}


class ContactParams(Params):
    label: Literal["captions", "number", "seed", "prompt", "none"] = param(
        "captions", help="What stands below each picture: what you give as captions, or what the picture itself tells."
    )
    captions: list[Annotated[str, param(..., max_length=2_000, help="A caption.")]] = param(
        [], max_length=10_000, visible_if={"label": "captions"}, help="One for each picture, in their order, or none."
    )
    title: str = param("", max_length=500, help="Stands above all.")
    columns: int = param(0, ge=0, le=1_000, help="Pictures in each row. 0: as many as there are rows, or one more.")
    gutter: int = param(16, ge=0, le=500, unit="pixels", help="Space between the pictures, and around them.")
    max_side: int = param(
        2096, ge=64, le=16_384, unit="pixels",
        help="The sheet is no wider and no higher than this: the pictures are made smaller where they have to be.",
    )  # fmt: skip
    background: str = param("white", **COLOR, help="Colour behind the pictures: name or #rrggbb.")


class DriftParams(Params):
    labels: list[Annotated[str, param(..., max_length=200, help="A label.")]] = param(
        [], max_length=10_000, help="What stands below the points, one for each picture; without them their numbers."
    )
    title: str = param("", max_length=500, help="Stands above the plot.")
    show: Literal["values", "change"] = param(
        "values", help="values: L*, a* and b* as they are. change: how far they are from those of the first picture."
    )
    width: int = param(960, ge=320, le=8_192, unit="pixels", pairs_with="height", help="Width of the plot.")
    height: int = param(720, ge=320, le=8_192, unit="pixels", help="Height of the plot.")
    background: str = param("white", **COLOR, help="Colour of the page: name or #rrggbb.")


class Member(Params):
    picture: int = param(-1, ge=-1, help="Which of the pictures shows it, counted from 0; -1 is none.")
    caption: str = param("", max_length=500, help="What stands below it.")
    review: Literal["new", "picked", "rejected"] = param("new", help="How it is marked.")
    asked: bool = param(False, help="Whether it has a frame: it is whom this is about.")


class TreeLooks(Params):
    title: str = param("", max_length=500, order=20, help="Stands above all.")
    thumbnail: int = param(128, ge=32, le=1_024, unit="pixels", order=21, help="Side of each picture, if they fit.")
    max_side: int = param(
        4096, ge=256, le=16_384, unit="pixels", order=22,
        help="The tree is no wider and no higher than this: the pictures are made smaller where they have to be.",
    )  # fmt: skip
    background: str = param("white", **COLOR, order=23, help="Colour behind the pictures: name or #rrggbb.")


class TreeParams(TreeLooks):
    members: list[Member] = param(
        [], max_length=2_000, order=1, help="Who belongs to it. Without any, it is all the pictures."
    )
    arrows: list[list[int]] = param(
        [], max_length=10_000, order=2, help="[from, to] for each, by the members' places, counted from 0."
    )


class LineageParams(TreeLooks):
    relatives: Literal["all", "descendants", "ancestors"] = param(
        "all", order=1,
        help="ancestors: what it was made from. descendants: and what was made of it. all: and what else was made of "
        "what it was made from.",
    )  # fmt: skip
    depth: int = param(20, ge=1, le=100, order=2, help="Generations in each direction.")
    limit: int = param(100, ge=2, le=500, order=3, help="Members at most; the nearest count first.")
    label: Literal["job", "seed", "name", "none"] = param(
        "job", order=4, help="What stands below each: the job that made it, its seed or its name."
    )


Pictures = Annotated[list[Image], "The pictures, in their order."]


class Sheets(Plugin):
    @job(reuse=True)
    def contact_sheet(self, images: Pictures, params: ContactParams, ctx: Context) -> Image:
        """Put many pictures on one page, each with a caption below it."""
        from .contact import contact_sheet

        sheet, facts = contact_sheet(images, params, ctx)
        return Result(sheet, facts)

    @job(reuse=True)
    def drift_plot(self, images: Pictures, params: DriftParams, ctx: Context) -> Image:
        """Plot how the mean colour (L*, a*, b* of CIELAB) changes from picture to picture."""
        from .drift import drift_plot

        plot, values = drift_plot(images, params, ctx)
        return Result(plot, {"lab": values})

    @job(reuse=True)
    def family_tree(self, images: Pictures, params: TreeParams, ctx: Context) -> Image:
        """Draw pictures in generations, with arrows from what was made from what."""
        from .tree import family_tree

        params.members = params.members or [Member(picture=place) for place in range(len(images))]
        return family_tree(images, params, ctx)

    @job(program=True)
    def lineage_tree(self, image: Image, params: LineageParams, ctx: Context) -> Image:
        """Draw the family of a picture: what it was made from, what was made of it, what was picked and rejected."""
        from .family import lineage_tree

        return lineage_tree(image, params, ctx)
