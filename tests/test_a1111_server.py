"""A1111's REST API beside drawing, by webuiapi and by raw requests: lists, options, progress, extras, the queue."""

import pytest
import requests
import webuiapi

from tests.serving import ROOT, serve

BOT = "b" * 20
SHA256 = "150eb12cdfa179d690249395d88f21055efc54dc8c4e239a98813c90fe8017d5"  # of the built-in model


@pytest.fixture(scope="module")
def server():
    with serve({"stable_diffusion": ROOT / "plugins/stable_diffusion"}, tokens={"bot": BOT}) as server:
        yield server


@pytest.fixture
def api(server):
    return client(server)


def client(server, token=None):
    return webuiapi.WebUIApi(port=server.port, username="any", password=token or server.token)


def rest(server, method, path, token=None, **options):
    headers = {"Authorization": f"Bearer {token or server.token}"}
    return requests.request(method, server.url + path, headers=headers, timeout=60, **options)


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
