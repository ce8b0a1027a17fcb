"""Every screen for people who use a keyboard, a screen reader, a phone, the dark: axe, a walk by Tab, no overflow."""

import pytest
from playwright.sync_api import expect

from core.remote.records import Records, Remote, Rule, State
from tests.serving import ROOT, serve, wait_until
from tests.site import plugin

pytestmark = pytest.mark.browser
EMPTY = "class Demo(Plugin): ..."
LONG = "a portrait of an old lighthouse keeper_with_one_very_long_word_that_has_no_space_in_it, oil on canvas, " * 3
BUSY = '''
from typing import Literal
import time, PIL.Image

class PaintParams(Params):
    prompt: str = param("a red circle", widget="textarea", order=1, help="What it shows.")
    steps: int = param(4, ge=1, le=50, widget="slider", group="drawing", help="How many.")
    style: Literal["plain", "soft"] = param("plain", group="drawing", help="How it looks.")
    tile: bool = param(False, help="Without seams.")
    model: str = param("", choices_from="models/checkpoint", help="Who draws.")
    seed: int = param(-1, ge=-1, widget="seed", help="Where chance begins.")
    words: list[str] = param(["a"], advanced=True, help="Words.")

class StopParams(Params):
    seconds: float = param(1, ge=0, le=600, help="How long.")

class Busy(Plugin):
    @job()
    def paint(self, params: PaintParams, ctx: Context) -> Image:
        """Paint a picture."""
        ctx.log(f"painting {params.prompt}")
        if params.prompt == "nothing":
            raise ValueError("there is nothing to paint, " * 20)
        return Result(PIL.Image.new("RGB", (96, 64), (params.steps * 5, 90, 160)), {"seed": params.seed})

    @job()
    def repaint(self, image: Image, mask: Mask | None, params: PaintParams) -> Image:
        """Paint over a picture."""
        return image

    @job()
    def wait(self, params: StopParams, ctx: Context) -> Text:
        """Take a while."""
        for step in range(int(params.seconds * 10)):
            ctx.progress(step, int(params.seconds * 10), "waiting")
            ctx.preview(PIL.Image.new("RGB", (64, 64), (step % 250, 90, 160)))
            time.sleep(0.1)
            if ctx.cancelled:
                break
        return "done"
'''
SCREENS = ["/", "/watch", "/results", "/draw", "/connect"]
SCREENS += [f"/manage/{part}" for part in ("plugins", "models", "defaults", "devices", "log", "about")]
LOOKS = {"empty": [(1440, "light"), (390, "dark")], "full": [(1440, "dark"), (390, "light")]}
SERIOUS = ("serious", "critical")
BOTH = {"busy": BUSY, "broken": "import nothing_of_that_name"}
NAMES_MODELS = plugin("https://models.example", name=f"{'a-long-name-' * 9}.pt", licence="CreativeML Open RAIL-M")
REACHED = "a[href], button, input, select, textarea, summary, [tabindex]"


@pytest.fixture(scope="module")
def empty(web):
    with serve({"demo": EMPTY}, web="auto") as running:
        yield running


@pytest.fixture(scope="module")
def full(web):
    """Results in many sessions with long names, a failed job, one that runs, others behind it, a refused plugin, a
    machine elsewhere that failed."""
    with (
        serve(BOTH, before_start=NAMES_MODELS, web="auto") as running,
        running.client() as client,
    ):
        records, rule = Records(running.folder / "data"), Rule(jobs=[f"job_{k}.*" for k in range(9)], when="only")
        records.write(Remote(name="gpu1", host=f"{'host-' * 30}.example", user="root", rule=rule))
        error = {"code": "forbidden", "message": f"It has another host key: SHA256:{'x' * 43}.", "hint": LONG}
        told = {"title": LONG[:100], "free_bytes": 10**9, "total_bytes": 10**10}
        records.write_state("gpu1", State(state="failed", error=error, since=1, seen=1, devices={"cuda:0": told}))
        for k in range(24):
            client.submit("paint", {"prompt": LONG[k:], "steps": k + 1, "seed": k}, session=f"{LONG[:60]} {k}")
        last = client.submit("paint", {"prompt": "a red circle"}, session="default")
        wait_until(lambda: client.job(last.id).state == "done")
        failed = client.submit("paint", {"prompt": "nothing"}, session="default")
        wait_until(lambda: client.job(failed.id).state == "failed")
        client.run("wait", seconds=0)  # a text
        for _ in range(6):
            waits = client.submit("wait", {"seconds": 600})
        running.picture = last.outputs[0].id
        yield running
        for job in client.jobs(state="queued") + client.jobs(state="running"):
            job.cancel()
        wait_until(lambda: client.job(waits.id).state == "cancelled")


def axe():
    """Its source, from the packages that the page is built with."""
    places = [ROOT / "clients" / "web", *sorted((ROOT / ".envs" / "web").glob("packages-*"))]
    found = [place / "node_modules" / "axe-core" / "axe.min.js" for place in places]
    return next(path for path in found if path.exists()).read_text("utf-8")


def settled(page):
    """Whether the screen is there: its chunk is loaded, and its first answers have come."""
    page.locator("main").wait_for()
    expect(page.get_by_text("One moment")).to_have_count(0)
    page.wait_for_timeout(400)


def problems(page):
    """What axe says of the page: what kind, where."""
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    bad = [each for each in found if each["impact"] in SERIOUS]
    return [(each["id"], [" ".join(map(str, node["target"])) for node in each["nodes"]][:5]) for each in bad]


def overflow(page):
    """By how many pixels the page is wider than the window, and its main part than its place."""
    return page.evaluate(
        """() => Math.max(...[document.documentElement, document.querySelector("main")].map(
            (each) => each.scrollWidth - each.clientWidth))"""
    )


@pytest.mark.parametrize("state", LOOKS)
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(state, request, visit):
    server = request.getfixturevalue(state)
    page = visit(server, bypass_csp=True)
    own = [f"/results/{server.picture}", f"/draw/{server.picture}"] if state == "full" else []
    found = {}
    page.evaluate(axe())
    for screen in SCREENS + own:
        page.evaluate("screen => { location.hash = screen }", screen)
        settled(page)
        for width, scheme in LOOKS[state]:
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate("scheme => { document.documentElement.dataset.theme = scheme }", scheme)
            page.wait_for_timeout(50)
            if said := problems(page):
                found[screen, width, scheme] = said
            if (pixels := overflow(page)) > 0:
                found[screen, width, "too wide"] = pixels
    assert not found


@pytest.mark.parametrize("screen", SCREENS)
def test_tab_reaches_everything_in_sight_shows_where_it_is_and_comes_out_again(screen, full, visit):
    page = visit(full, screen)
    settled(page)
    wanted = page.evaluate(USABLE)
    seen, unseen, rounds = set(), set(), 0
    for _ in range(2 * len(wanted) + 100):  # what is off the screen at first may come into sight
        page.keyboard.press("Tab")
        at, shown = page.evaluate(FOCUSED)
        rounds += at is None  # it has left the page, for the browser's own controls, and begins at the top again
        if rounds == 2:
            break
        seen |= {at}
        unseen |= set() if shown else {at}
    assert rounds == 2, f"the focus does not come out: {at}"
    assert not unseen
    assert not {*wanted} - seen


DESCRIBED = """const named = (each) => each.dataset.walked ??= `${each.tagName} ${each.getAttribute("aria-label") ??
    each.name ?? ""} ${each.textContent.slice(0, 30)} ${window.walked = (window.walked ?? 0) + 1}`;"""
USABLE = f"""() => {{ {DESCRIBED}
    const inGroup = (each) => each.type === "radio" && !each.checked;
    return [...document.querySelectorAll('{REACHED}')].filter((each) => each.tabIndex >= 0 && !each.disabled
        && !inGroup(each) && !each.closest("fieldset:disabled, [inert]")
        && each.checkVisibility({{visibilityProperty: true}})).map(named) }}"""
FOCUSED = f"""() => {{ {DESCRIBED}
    const each = document.activeElement;
    if (!each || each === document.body) return [null, true];
    const shown = document.getElementById(each.getAttribute("aria-activedescendant")) ?? each;
    const marked = ({{outlineStyle, outlineWidth, boxShadow}}) =>
        (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
    return [named(each), marked(getComputedStyle(shown)) || marked(getComputedStyle(shown, "::after"))] }}"""


def test_a_dialog_keeps_the_focus_and_gives_it_back(full, visit):
    page = visit(full, "/manage/about")
    settled(page)
    page.get_by_role("combobox", name="Theme").focus()
    page.keyboard.press("Tab")
    before = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    dialog.wait_for()
    assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.textContent") == before
