"""A1111's REST API beside drawing, by webuiapi and by raw requests: lists, options, progress, extras, the queue."""

import pytest
import requests
import webuiapi

from tests.serving import ROOT, serve

BOT = "b" * 20
SHA256 = "150eb12cdfa179d690249395d88f21055efc54dc8c4e239a98813c90fe8017d5"  # of the built-in model


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


@pytest.fixture
def api(server):
    return client(server)


def client(server, token=None):
    return webuiapi.WebUIApi(port=server.port, username="any", password=token or server.token)


def rest(server, method, path, token=None, **options):
    headers = {"Authorization": f"Bearer {token or server.token}"}
    return requests.request(method, server.url + path, headers=headers, timeout=60, **options)


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
