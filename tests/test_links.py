"""Signed links: an artifact's address that opens without the token, for a while, and nothing else."""

import re
import time

import pytest
import requests

from tests.serving import serve

OTHER = "another person's long token"
SAY = """
class Say(Plugin):
    @job()
    def say(self) -> Text:
        return "hello"
"""


@pytest.fixture(scope="module")
def server():
    with serve({"say": SAY}, tokens={"bot": OTHER}) as server:
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def status(link):
    return requests.get(link).status_code


def test_a_link_opens_without_the_token_also_after_a_restart(server, client):
    link = client.run("say")[0].link()
    server.restart()
    answer = requests.get(link)
    assert (answer.status_code, answer.text) == (200, "hello")


def test_a_link_that_has_expired_says_so(client):
    answer = requests.get(client.run("say")[0].link(seconds=-1))
    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "this link has expired, or was not signed for this artifact."


@pytest.mark.parametrize(
    "of, becomes",
    [
        (r"signature=\w", "signature=x"),
        (r"signature=\w", "signature=%C3%A9"),
        (r"signature=\w+", "signature="),
        (r"expires=\d", "expires=9"),
        (r"&signature=\w+", ""),
    ],
)
def test_a_link_that_was_changed_opens_nothing(client, of, becomes):
    link = client.run("say")[0].link()
    assert status(link) == 200 and status(re.sub(of, becomes, link)) == 401


def test_a_link_opens_one_artifact_and_no_other_address(server, client):
    one, other = client.run("say")[0], client.run("say")[0]
    query = one.link().partition("?")[2]
    for address in (f"artifacts/{other.id}", f"api/v1/artifacts/{one.id}", "api/v1/jobs", "v1/models"):
        assert status(f"{server.url}/{address}?{query}") == 401, address


def test_nobody_can_sign_for_the_artifacts_of_others(server, client):
    from clients.python import Client
    from clients.python.stable_core import Artifact

    mine = client.run("say")[0]
    with Client(server.url, OTHER) as bot:
        assert status(Artifact(bot, mine.id).link()) == 404
        assert status(bot.run("say")[0].link()) == 200


def test_who_has_the_token_needs_no_signature(server, client):
    link = client.run("say")[0].link(seconds=-1)
    assert requests.get(link, headers={"Authorization": f"Bearer {server.token}"}).text == "hello"


def test_a_link_holds_for_an_hour_if_nothing_else_is_said(client):
    link = client.run("say")[0].link()
    assert 3590 < int(re.search(r"expires=(\d+)", link)[1]) - time.time() < 3601
