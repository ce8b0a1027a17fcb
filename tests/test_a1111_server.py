"""A1111's REST API beside drawing, by webuiapi and by raw requests: lists, options, progress, extras, the queue."""

import base64
import contextlib
import io
import json
import re
import threading
import zipfile

import PIL.Image
import pytest
import requests
import webuiapi

from clients.bridges import a1111
from clients.bridges.a1111.options import OPTIONS
from tests.serving import ROOT, serve, wait_until
from tests.test_docs import quoted, table

BOT = "b" * 20
SCHEDULER = "/agent-scheduler/v1"
SHA256 = "150eb12cdfa179d690249395d88f21055efc54dc8c4e239a98813c90fe8017d5"  # of the built-in model


PAINT = """
import PIL.Image

class PaintParams(Params):
    prompt: str = param("", help="A colour.")
    steps: int = param(20, ge=1, le=10000, help="How long it takes.")
    batch_size: int = param(1, ge=1, help="How many pictures.")
    n_iter: int = param(1, ge=1, help="How many times as many.")

class LoopParams(PaintParams):
    denoising_strength: float = param(0.5, help="Nothing.")
    loops: int = param(2, help="How many pictures.")
    final_denoising_strength: float = param(0.5, help="Nothing.")
    curve: str = param("linear", help="Nothing.")

class Paint(Plugin):
    @job(program=True)
    def loopback(self, image: Image, params: LoopParams, ctx: Context) -> list[Image]:
        about = [{"prompt": params.prompt, "steps": params.steps * (k + 1)} for k in range(params.loops)]
        jobs = ctx.gather([ctx.submit("txt2img", each, key=str(k)) for k, each in enumerate(about)])
        return [output for job in jobs for output in job.outputs]

    @job(concurrency=4)
    def txt2img(self, params: PaintParams, ctx: Context) -> Iterator[Image]:
        for k in range(params.batch_size * params.n_iter):
            before = ctx.skips
            for step in range(params.steps):
                if ctx.skips > before:
                    break
                if ctx.cancelled and ctx.keep_partial:
                    return
                ctx.raise_if_cancelled()
                ctx.progress(k * params.steps + step + 1, params.steps * params.batch_size * params.n_iter, "sample")
                ctx.preview(PIL.Image.new("RGB", (8, 8), params.prompt))
                time.sleep(0.02)
            yield PIL.Image.new("RGB", (16, 16), params.prompt)
"""
TIDY = """
class TidyParams(Params):
    model: str = param("", choices_from="models/checkpoint", help="Which one goes.")

class Tidy(Plugin):
    @job(light=True)
    def forget(self, params: TidyParams, ctx: Context) -> Json:
        (ctx.models.folder / "checkpoint" / params.model).unlink()
        return {}
"""
UPSCALE = """
class UpscaleParams(Params):
    model: str = param("", choices_from="models/upscaler", help="Upscaling model.")
    scale: float = param(4, ge=1, le=8, help="Enlargement factor of each side.")

class Upscale(Plugin):
    @job()
    def upscale(self, image: Image, params: UpscaleParams) -> Image:
        return image.resize((round(image.width * params.scale), round(image.height * params.scale)))
"""
FACES = """
class FaceParams(Params):
    model: str = param("", choices_from="models/face_restorer", help="Face restoration model.")
    visibility: float = param(1, ge=0, le=1, help="How much of it is seen.")

class Faces(Plugin):
    @job()
    def restore(self, image: Image, params: FaceParams) -> Image:
        return image.crop((0, 0, round(8 * params.visibility), 2 if "Former" in params.model else 3))
"""
INTERROGATE = """
class AskParams(Params):
    model: Literal["ViT-L clip", "DeepDanbooru"] = param("ViT-L clip", help="Who looks.")

class Interrogate(Plugin):
    @job()
    def interrogate(self, image: Image, params: AskParams) -> Text:
        return f"{params.model}: {image.width}x{image.height}"
"""
STYLES = 'name,prompt,negative_prompt\nnice,"{prompt}, nice",ugly\n'


def furnish(folder):
    """Model files to be listed, and a style."""
    for name in ("lora/sub/thin.safetensors", "vae/soft.pt", "embedding/bad.pt", "hypernetwork/old.pt"):
        (folder / "models" / name).parent.mkdir(parents=True)
        (folder / "models" / name).touch()
    (folder / "models/styles").mkdir()
    (folder / "models/styles/styles.csv").write_text(STYLES)


@pytest.fixture(scope="module")
def server():
    with serve({"stable_diffusion": ROOT / "plugins/stable_diffusion"}, furnish, tokens={"bot": BOT}) as server:
        yield server


@pytest.fixture(scope="module")
def painter():
    """A server that paints one colour for as long as it is told to."""
    plugins = {"paint": "from typing import Iterator\n" + PAINT, "tidy": TIDY}
    with serve(plugins, tokens={"bot": BOT}, cancel_grace_seconds=2) as server:
        yield server


@pytest.fixture
def api(server):
    return client(server)


def client(server, token=None):
    return webuiapi.WebUIApi(port=server.port, username="any", password=token or server.token)


def rest(server, method, path, token=None, **options):
    headers = {"Authorization": f"Bearer {token or server.token}"}
    return requests.request(method, server.url + path, headers=headers, timeout=60, **options)


@contextlib.contextmanager
def painting(server, token=None, path="/sdapi/v1/txt2img", **body):
    """A call that goes on while the block runs; `answer()` waits for what came of it."""
    answers = []
    call = threading.Thread(target=lambda: answers.append(rest(server, "POST", path, token, json=body).json()))
    call.start()

    def answer():
        call.join(30)
        return answers[0]

    yield answer
    answer()


def task(server, id, token=None, **more):
    return rest(server, "POST", "/internal/progress", token, json={"id_task": id, **more}).json()


def png(width=8, height=6, colour="red"):
    out = io.BytesIO()
    PIL.Image.new("RGB", (width, height), colour).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def opened(text):
    return PIL.Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


# Lists


def test_samplers_and_schedulers_are_those_of_the_job_that_draws(api):
    samplers = {row["name"]: row for row in api.get_samplers()}
    assert samplers["DPM++ 2M"] == {"name": "DPM++ 2M", "aliases": ["dpmpp_2m"], "options": {}}
    assert "Restart" in samplers and "DPM++ 2M Karras" not in samplers
    schedulers = {row["name"]: row for row in api.get_schedulers()}
    assert (schedulers["sgm_uniform"]["label"], schedulers["karras"]["default_rho"]) == ("SGM Uniform", 7.0)
    assert api.util_get_scheduler_names() == sorted(schedulers)


def test_upscalers_are_those_of_the_second_pass_while_no_plugin_has_more(api):
    assert [row["name"] for row in api.get_upscalers()] == ["None", "Lanczos", "Nearest"]
    assert api.get_latent_upscale_modes()[:2] == [{"name": "Latent"}, {"name": "Latent (antialiased)"}]
    assert api.get_realesrgan_models() == api.get_face_restorers() == []


def test_models_are_listed_with_the_hashes_that_are_known(api):
    assert api.get_sd_models() == [
        {
            "title": "builtin [150eb12cdf]", "model_name": "builtin", "hash": "150eb12cdf", "sha256": SHA256,
            "filename": "builtin", "config": None,
        }
    ]  # fmt: skip
    assert (
        api.get_sd_vae() == api.custom_get("sdapi/v1/sd-modules") == [{"model_name": "soft.pt", "filename": "soft.pt"}]
    )
    assert api.get_loras() == [{"name": "thin", "alias": "thin", "path": "sub/thin.safetensors", "metadata": {}}]
    assert api.get_hypernetworks() == [{"name": "old", "path": "old.pt"}]
    assert [*api.get_embeddings()["loaded"]] == ["bad"] and api.get_embeddings()["skipped"] == {}


def test_a_job_that_takes_a_model_for_another_purpose_is_left_alone(painter):
    precious = painter.folder / "models/checkpoint/precious.safetensors"
    precious.parent.mkdir(parents=True, exist_ok=True)
    precious.touch()
    (row,) = client(painter).get_sd_models()
    assert (row["title"], row["sha256"]) == ("precious.safetensors", None) and precious.exists()


def test_styles_come_with_their_texts(api):
    assert api.get_prompt_styles() == [{"prompt": "{prompt}, nice", "negative_prompt": "ugly", "name": "nice"}]


def test_lists_are_always_fresh_so_there_is_nothing_to_refresh(server, api):
    (server.folder / "models/lora/new.safetensors").touch()
    assert [row["name"] for row in api.get_loras()] == ["new", "thin"]
    assert api.refresh_checkpoints() is None
    for name in ("vae", "loras", "embeddings"):
        answer = rest(server, "POST", f"/sdapi/v1/refresh-{name}")
        assert (answer.status_code, answer.json()) == (200, None)


def test_flags_tell_the_port_and_extensions_are_the_plugins(server, api):
    assert api.get_cmd_flags() | {"api": True, "port": server.port} == api.get_cmd_flags()
    assert [(row["name"], row["enabled"]) for row in api.custom_get("sdapi/v1/extensions")] == [
        ("stable_diffusion", True)
    ]


# Options


def test_options_are_those_that_jobs_know(api):
    options = api.get_options()
    assert options["sd_model_checkpoint"] == f"builtin [{SHA256[:10]}]" == api.util_get_current_model()
    assert options["sd_checkpoint_hash"] == SHA256
    assert (options["sd_vae"], options["CLIP_stop_at_last_layers"], options["emphasis"]) == ("Automatic", 1, "Original")


def test_options_of_one_client_are_not_those_of_another(server, api):
    bot = client(server, BOT)
    bot.set_options({"CLIP_stop_at_last_layers": 2, "emphasis": "No norm"})
    bot.set_options({"sd_model_checkpoint": SHA256[:10]})
    assert [bot.get_options()[name] for name in ("CLIP_stop_at_last_layers", "emphasis")] == [2, "No norm"]
    assert [api.get_options()[name] for name in ("CLIP_stop_at_last_layers", "emphasis")] == [1, "Original"]


def test_options_that_no_job_knows_are_told_and_do_no_harm(server):
    answer = rest(server, "POST", "/sdapi/v1/options", json={"live_previews_enable": True, "a\nb": 1, "eta": None})
    assert (answer.status_code, answer.json()) == (200, None)
    assert answer.headers["Warning"].startswith('299 stable-core "ignored') and "live_previews_enable, a" in str(
        answer.headers["Warning"]
    )


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"sd_model_checkpoint": "nothing.ckpt"}, 404, "model 'nothing.ckpt' not found"),
        ({"sd_vae": "nothing.pt"}, 404, "VAE 'nothing.pt' not found"),
        ({"CLIP_stop_at_last_layers": 99}, 422, "CLIP_stop_at_last_layers: 99 is greater than the maximum of 12"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a1111s_shape(server, options, status, said):
    answer = rest(server, "POST", "/sdapi/v1/options", json={"emphasis": "None"} | options)
    assert answer.status_code == status and answer.json().keys() == {"error", "detail", "body", "errors"}
    assert answer.json()["errors"].startswith(said)
    assert rest(server, "GET", "/sdapi/v1/options").json()["emphasis"] == "Original"


def test_options_are_what_drawing_begins_with_for_that_client_alone(server):
    bot, body = client(server, BOT), {"prompt": "a red circle", "steps": 1, "width": 64, "height": 64}
    bot.set_options({"CLIP_stop_at_last_layers": 2, "emphasis": "Original"})
    assert "Clip skip: 2" in bot.txt2img(**body).info["infotexts"][0]
    assert "Clip skip" not in client(server).txt2img(**body).info["infotexts"][0]
    settings = {"override_settings": {"CLIP_stop_at_last_layers": 3}}
    assert "Clip skip: 3" in bot.txt2img(**body, **settings).info["infotexts"][0]
    assert bot.get_options()["CLIP_stop_at_last_layers"] == 2


# Progress, interrupt, skip


def test_nothing_runs_so_progress_is_zero(painter):
    idle = client(painter).get_progress()
    assert (idle["progress"], idle["eta_relative"], idle["current_image"]) == (0, 0, None)
    assert idle["state"] == {
        "skipped": False, "interrupted": False, "stopping_generation": False, "job": "", "job_count": 0,
        "job_timestamp": "0", "job_no": 0, "sampling_step": 0, "sampling_steps": 0,
    }  # fmt: skip
    client(painter).util_wait_for_ready()


def test_progress_rises_shows_the_newest_preview_and_tells_the_steps(painter):
    api = client(painter)
    with painting(painter, prompt="lime", steps=60):
        first = wait_until(lambda: (now := api.get_progress())["current_image"] and now)
        assert opened(first["current_image"]).getpixel((4, 4))[1] > 200
        assert (first["state"]["job_count"], first["state"]["sampling_steps"]) == (1, 60)
        step = first["state"]["sampling_step"]
        assert first["progress"] == pytest.approx(0.01 + step / 60) and first["eta_relative"] > 0
        later = wait_until(lambda: (now := api.get_progress())["state"]["sampling_step"] > step and now)
        assert later["progress"] > first["progress"]
        assert not rest(painter, "GET", "/sdapi/v1/progress?skip_current_image=true").json()["current_image"]


def test_a_task_is_followed_by_its_own_id_while_others_run(painter):
    with painting(painter, prompt="red", steps=60), painting(painter, prompt="blue", steps=60, force_task_id="mine"):
        mine = wait_until(lambda: (now := task(painter, "mine"))["live_preview"] and now)
        assert (mine["active"], mine["queued"], mine["completed"]) == (True, False, False)
        start, data = mine["live_preview"].split(",")
        assert start == "data:image/jpeg;base64" and opened(data).getpixel((4, 4))[2] > 200
        again = task(painter, "mine", id_live_preview=mine["id_live_preview"])
        assert again["id_live_preview"] > mine["id_live_preview"] or again["live_preview"] is None
        assert task(painter, "mine", live_preview=False)["live_preview"] is None
    assert task(painter, "mine")["completed"] and not task(painter, "mine")["active"]
    assert [task(painter, "nobody's")[key] for key in ("active", "queued", "completed")] == [False] * 3


def test_progress_of_a_script_is_that_of_all_its_jobs(painter):
    api, script = client(painter), {"script_name": "Loopback", "script_args": [4]}
    with painting(painter, path="/sdapi/v1/img2img", prompt="red", steps=20, init_images=[png()], **script) as answer:
        now = wait_until(lambda: (now := api.get_progress())["state"]["job_count"] == 4 and now)
        assert now["state"]["job"] in ("paint.txt2img", "paint.loopback") and 0 < now["progress"] < 0.9
        last = wait_until(lambda: (now := api.get_progress())["state"]["job_no"] in (2, 3) and now)
        assert last["progress"] > 0.5
        assert len(answer()["images"]) == 4


def test_interrupt_stops_what_progress_tells_of_and_keeps_what_is_there(painter):
    api = client(painter)
    with painting(painter, prompt="red", steps=20, n_iter=50, force_task_id="older") as older:
        wait_until(lambda: task(painter, "older")["active"])
        with painting(painter, prompt="blue", steps=5000, force_task_id="newer") as newer:
            wait_until(lambda: api.get_progress()["state"]["sampling_step"] > 21)
            assert api.get_progress()["current_task"] == "older"
            assert api.interrupt() == {}
            assert 0 < len(older()["images"]) < 50
            assert api.get_progress()["current_task"] == "newer"
            api.interrupt()
            assert newer()["images"] == []


def test_nobody_sees_or_interrupts_what_another_token_draws(painter):
    bot = client(painter, BOT)
    with painting(painter, prompt="red", steps=60, force_task_id="secret") as mine:
        wait_until(lambda: task(painter, "secret")["active"])
        assert bot.get_progress()["progress"] == 0 and not task(painter, "secret", BOT)["active"]
        assert bot.interrupt() == {} and bot.skip() is None
        assert len(mine()["images"]) == 1


def test_skip_goes_on_with_the_next_picture(painter):
    api = client(painter)
    with painting(painter, prompt="red", steps=1000, n_iter=2, force_task_id="two") as two:
        for step in (1, 1001):
            wait_until(lambda step=step: api.get_progress()["state"]["sampling_step"] >= step)
            assert api.skip() is None
        assert len(two()["images"]) == 2


def test_what_waits_is_pending_and_can_be_interrupted(painter):
    api = client(painter)
    rest(painter, "POST", "/agent-scheduler/v1/queue/pause")
    with painting(painter, prompt="red", steps=2, force_task_id="waiting") as answer:
        wait_until(lambda: rest(painter, "GET", "/internal/pending-tasks").json() == {"size": 1, "tasks": ["waiting"]})
        now = task(painter, "waiting")
        assert (now["queued"], now["active"], now["textinfo"]) == (True, False, "In queue: 1")
        assert (api.get_progress()["progress"], api.get_progress()["textinfo"]) == (0, "Waiting...")
        api.interrupt()
        assert answer()["images"] == []
    rest(painter, "POST", "/agent-scheduler/v1/queue/resume")


# Extras


def test_what_no_plugin_does_says_in_a1111s_shape_what_one_has_to_announce(server):
    for path, body, needs in [
        ("extra-single-image", {"upscaler_1": "4x-Sharp"}, "upscale with 4x-Sharp.*choices_from 'models/upscaler'"),
        ("extra-single-image", {"gfpgan_visibility": 1}, "restore faces with GFPGAN.*'models/face_restorer'"),
        ("interrogate", {"model": "clip"}, "interrogate with clip.*a text as output"),
    ]:
        answer = rest(server, "POST", f"/sdapi/v1/{path}", json={"image": png(), **body})
        assert answer.status_code == 404 and answer.json().keys() == {"error", "detail", "body", "errors"}
        assert re.search(needs, answer.json()["detail"])
        assert "Put a plugin that does into plugins/" in answer.json()["detail"]


# What else there is


def test_png_info_reads_what_was_drawn(server, api):
    drawn = api.txt2img(prompt="a red circle", steps=1, width=64, height=64, seed=3).json["images"][0]
    told = rest(server, "POST", "/sdapi/v1/png-info", json={"image": drawn}).json()
    assert told["info"].startswith("a red circle\nSteps: 1, Sampler: Euler a")
    assert told["items"]["parameters"] == told["info"] and told["parameters"]["params"]["seed"] == 3
    assert api.png_info(PIL.Image.new("RGB", (8, 8))).json == {"info": "", "items": {}, "parameters": {}}


def test_memory_is_what_workers_hold_and_less_after_unloading(server, api):
    before = api.get_memory()
    assert before["ram"]["used"] > 100_000_000 and before["cuda"] == {"error": "unavailable"}
    assert before["ram"]["free"] + before["ram"]["used"] == before["ram"]["total"]
    for name in ("unload", "reload"):
        assert rest(server, "POST", f"/sdapi/v1/{name}-checkpoint").json() == {}
    wait_until(lambda: api.get_memory()["ram"]["used"] < before["ram"]["used"])


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("server-kill", 403, "no client may stop or restart this server"),
        ("server-restart", 403, "no client may stop or restart this server"),
        ("no-such-route", 404, "Not Found"),
    ],
)
def test_what_is_not_done_here_is_said(server, path, status, said):
    answer = rest(server, "POST", f"/sdapi/v1/{path}", json={})
    assert answer.status_code == status and said in answer.json()["detail"]


def test_the_page_about_it_names_every_path_and_every_option_and_no_other():
    page = (ROOT / "docs/a1111.md").read_text("utf-8")
    named = {tuple(part.split()) for part in quoted(page) if re.match(r"(GET|POST|PUT|DELETE) /", part)}
    named = {(method, path if re.match("/(sdapi|internal)/", path) else SCHEDULER + path) for method, path in named}
    paths = a1111.create(None).openapi()["paths"]
    drawing = {("POST", "/sdapi/v1/txt2img"), ("POST", "/sdapi/v1/img2img")}
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == named | drawing
    assert {option.name for option in OPTIONS} == {name for row in table("Options", page) for name in quoted(row[0])}


# Agent-Scheduler


def scheduler(server, method, path, token=None, **options):
    return rest(server, method, f"{SCHEDULER}/{path}", token, **options).json()


def status(server, id):
    return scheduler(server, "GET", f"task/{id}/position")["data"]["status"]


def enqueued(server, **body):
    return scheduler(server, "POST", "queue/txt2img", json=body)["task_id"]


@pytest.fixture
def paused(painter):
    scheduler(painter, "POST", "queue/pause")
    yield painter
    scheduler(painter, "POST", "queue/clear")
    scheduler(painter, "POST", "queue/resume")


def test_a_task_waits_is_done_and_gives_its_pictures_also_after_kill_9(paused):
    id = enqueued(paused, prompt="red", steps=2, batch_size=2, checkpoint=None, callback_url=None)
    assert scheduler(paused, "GET", f"task/{id}/position")["data"] == {"status": "pending", "position": 0}
    assert scheduler(paused, "GET", f"task/{id}/results") == {"success": False, "message": "Task is pending"}
    paused.restart()
    scheduler(paused, "POST", "queue/resume")
    wait_until(lambda: status(paused, id) == "done")
    told = scheduler(paused, "GET", f"task/{id}")["data"]
    assert (told["id"], told["type"], told["status"], told["params"]["prompt"]) == (id, "txt2img", "done", "red")
    assert json.loads(told["result"])["images"] == [f"/artifacts/{id}.{k}" for k in range(2)]
    pictures = [opened(each["image"]) for each in scheduler(paused, "GET", f"task/{id}/results")["data"]]
    assert [picture.getpixel((8, 8)) for picture in pictures] == [(255, 0, 0)] * 2
    zipped = rest(paused, "GET", f"/agent-scheduler/v1/task/{id}/results?zip=true").content
    assert len(zipfile.ZipFile(io.BytesIO(zipped)).namelist()) == 2


def test_a_task_of_two_pictures_is_two_jobs_with_one_id(painter):
    body = {"prompt": "red", "steps": 1, "init_images": [png(), png(colour="blue")]}
    id = scheduler(painter, "POST", "queue/img2img", json=body)["task_id"]
    assert id.count("-") == 1
    wait_until(lambda: status(painter, id) == "done")
    assert task(painter, id)["completed"] and not task(painter, id)["active"]
    told = scheduler(painter, "GET", f"task/{id}")["data"]
    assert (told["id"], told["type"], len(json.loads(told["result"])["images"])) == (id, "img2img", 4)
    assert len(scheduler(painter, "GET", f"task/{id}/results")["data"]) == 4


def test_the_queue_lists_what_waits_and_moves_it(paused):
    ids = [enqueued(paused, prompt=colour, steps=2) for colour in ("red", "lime", "blue")]
    queue = scheduler(paused, "GET", "queue")
    assert [row["id"] for row in queue["pending_tasks"]] == ids and queue["total_pending_tasks"] == 3
    assert queue["paused"] is True and queue["current_task_id"] is None
    assert scheduler(paused, "POST", f"task/{ids[2]}/run")["success"]
    assert scheduler(paused, "POST", f"task/{ids[0]}/move/bottom")["success"]
    queue = scheduler(paused, "GET", "queue?limit=2")
    assert [row["id"] for row in queue["pending_tasks"]] == [ids[2], ids[1]]
    moved = scheduler(paused, "POST", f"task/{ids[0]}/move/{ids[1]}")
    assert moved == {"success": True, "message": "Task moved"}
    queue = scheduler(paused, "GET", "queue")
    assert [row["id"] for row in queue["pending_tasks"]] == [ids[2], ids[0], ids[1]]
    assert "cannot be moved before itself" in scheduler(paused, "POST", f"move/{ids[0]}/{ids[0]}")["message"]
    assert scheduler(paused, "POST", f"move/{ids[0]}/nowhere")["message"] == "Task to move over not found"
    assert scheduler(paused, "DELETE", f"task/{ids[1]}") == {"success": True, "message": "Task deleted"}
    assert status(paused, ids[1]) == "interrupted"
    assert scheduler(paused, "POST", "queue/clear")["success"]
    assert scheduler(paused, "GET", "queue")["total_pending_tasks"] == 0


def test_history_has_what_ended_and_bookmarks_are_picked_pictures(painter):
    good, bad = enqueued(painter, prompt="red", steps=1), enqueued(painter, prompt="no colour", steps=1)
    wait_until(lambda: (status(painter, good), status(painter, bad)) == ("done", "failed"))
    assert [row["id"] for row in scheduler(painter, "GET", "history?status=failed")["tasks"]] == [bad]
    assert scheduler(painter, "GET", "history?limit=1")["tasks"][0]["id"] == bad
    assert scheduler(painter, "POST", f"task/{good}/bookmark")["success"]
    assert [row["id"] for row in scheduler(painter, "GET", "history?status=bookmarked")["tasks"]] == [good]
    assert scheduler(painter, "POST", f"task/{good}/unbookmark")["success"]
    assert not scheduler(painter, "GET", f"task/{good}")["data"]["bookmarked"]
    again = scheduler(painter, "POST", f"task/{good}/requeue")["task_id"]
    wait_until(lambda: status(painter, again) == "done")
    assert scheduler(painter, "POST", "task/requeue-failed") == {"success": True, "message": "Requeued 1 failed tasks"}


def test_a_running_task_is_interrupted_by_deleting_it(painter):
    body = {"prompt": "red", "steps": 5000, "init_images": [png(), png(colour="blue")]}
    id = scheduler(painter, "POST", "queue/img2img", json=body)["task_id"]
    wait_until(lambda: scheduler(painter, "GET", "queue")["current_task_id"] == id)
    assert scheduler(painter, "DELETE", f"task/{id}") == {"success": True, "message": "Task interrupted"}
    wait_until(lambda: status(painter, id) == "interrupted")


def test_tasks_of_others_are_not_found_and_only_the_owner_of_the_server_pauses(painter):
    id = enqueued(painter, prompt="red", steps=1)
    assert scheduler(painter, "GET", f"task/{id}", BOT) == {"success": False, "message": "Task not found"}
    answer = rest(painter, "POST", "/agent-scheduler/v1/queue/pause", BOT)
    assert answer.status_code == 403 and "bot may not pause the queue" in answer.json()["detail"]


def test_a_task_that_cannot_be_drawn_is_refused_when_it_is_queued(server):
    for body, status, said in [
        ({"checkpoint": "nothing"}, 404, "model 'nothing' not found"),
        ({"prompt": 5}, 422, "Input should be a valid string"),
        ({"steps": 9999}, 422, "steps"),
    ]:
        answer = rest(server, "POST", "/agent-scheduler/v1/queue/txt2img", json=body)
        assert answer.status_code == status and said in answer.text


# Plugins that come


def test_plugins_that_come_while_the_server_runs_do_extras_unchanged(painter):
    """Last of those with this server: it has more plugins from here on."""
    for name in ("upscaler/4x-Sharp.pth", "face_restorer/GFPGANv1.4.pth", "face_restorer/CodeFormer.pth"):
        (painter.folder / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (painter.folder / "models" / name).touch()
    api, picture = client(painter), PIL.Image.new("RGB", (8, 6), "red")
    with pytest.raises(RuntimeError, match="404.*models/upscaler"):
        api.extra_single_image(picture, upscaler_1="4x-Sharp")
    painter.write_plugin("upscale", UPSCALE)
    painter.write_plugin("faces", FACES)
    painter.write_plugin("interrogate", "from typing import Literal\n" + INTERROGATE)
    wait_until(lambda: sum(row["enabled"] for row in api.custom_get("sdapi/v1/extensions")) == 5)

    assert [row["name"] for row in api.get_upscalers()] == ["None", "4x-Sharp"]
    assert api.get_realesrgan_models() == [{"name": "4x-Sharp", "path": "4x-Sharp.pth", "scale": 4}]
    assert [row["name"] for row in api.get_face_restorers()] == ["CodeFormer", "GFPGANv1.4"]
    one = api.extra_single_image(picture, upscaler_1="4x-Sharp", upscaling_resize=2.5)
    assert (one.image.size, one.info) == ((20, 15), "<p>Postprocess upscaler: 4x-Sharp</p>")
    size = {"resize_mode": 1, "upscaling_resize_w": 16, "upscaling_resize_h": 24}
    covered = rest(
        painter, "POST", "/sdapi/v1/extra-single-image", json={"image": png(), "upscaler_1": "4x-Sharp"} | size
    )
    assert opened(covered.json()["image"]).size == (32, 24) and "upscaling_crop" in covered.headers["Warning"]
    options = {"upscaler_1": "4x-Sharp", "upscaling_resize": 2, "gfpgan_visibility": 1, "codeformer_visibility": 0.5}
    many = api.extra_batch_images([picture, PIL.Image.new("RGB", (8, 8), "blue")], **options)
    assert [image.size for image in many.images] == [(8, 4), (8, 4)]  # GFPGAN 8x3, CodeFormer 4x2, enlarged
    first = api.extra_batch_images([picture], upscale_first=True, **options)
    assert [image.size for image in first.images] == [(4, 2)]
    assert api.interrogate(picture).info == "ViT-L clip: 8x6"
    assert api.interrogate(picture, "deepdanbooru").info == "DeepDanbooru: 8x6"
    drawn = api.txt2img(prompt="red", steps=1, batch_size=2, restore_faces=True)
    assert [image.size for image in drawn.images] == [(8, 3)] * 2 and drawn.info["restore_faces"]
    body = {"prompt": "red", "steps": 1, "init_images": [png()] * 2, "restore_faces": True}
    body |= {"override_settings": {"face_restoration_model": "CodeFormer"}}
    redrawn = rest(painter, "POST", "/sdapi/v1/img2img", json=body)
    assert {opened(image).size for image in redrawn.json()["images"]} == {(8, 2)}
    assert "restor" not in redrawn.headers.get("Warning", "")
    id = enqueued(painter, prompt="red", restore_faces=True, steps=1)
    wait_until(lambda: status(painter, id) == "done")
    (told,) = scheduler(painter, "GET", f"task/{id}/results")["data"]
    assert opened(told["image"]).size == (8, 3)
