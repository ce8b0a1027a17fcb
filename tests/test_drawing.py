"""Assistants and the plain page draw with the built-in model; what other clients draw is with their documents."""

import re

import pytest

from tests import test_mcp, test_page

pytestmark = [pytest.mark.slow, pytest.mark.torch]
open_page = test_page.open_page


@pytest.fixture(scope="module")
def server(artist):
    return artist


def test_the_built_in_model_draws_for_an_assistant(artist):
    async def drawn():
        async with test_mcp.session(artist, mode="auto") as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            given = {"prompt": "a red circle on a blue background", "steps": 4, "seed": 7, "sampler": "Euler"}
            result = await client.call_tool("stable_diffusion-txt2img", given)
            model = tools["stable_diffusion-txt2img"].input_schema["properties"]["model"]["description"]
            list = re.search('`choices` of "(.+?)"', model)[1]
            return result, (await client.call_tool("choices", {"list": list})).structured_content["choices"]

    result, models = test_mcp.run(drawn())
    image = test_mcp.picture(result.content[0])
    assert result.structured_content["artifacts"][0]["seed"] == 7 and models
    assert image.size == (128, 128) and "a red circle" in image.info["parameters"]


@pytest.mark.browser
def test_picture_from_the_page_is_the_picture_from_the_sdk(open_page, artist):
    with artist.client() as client:
        page = open_page("stable_diffusion.txt2img", artist)
        test_page.control(page, "prompt").fill("a red circle on a blue background")
        test_page.control(page, "steps").fill("4")
        test_page.control(page, "seed").fill("7")
        card = test_page.run(page)
        test_page.expect(card.locator("figure img")).to_be_visible(timeout=180_000)
        drawn = client.job(card.get_attribute("id")).outputs[0].image()
        [same] = client.run("txt2img", prompt="a red circle on a blue background", steps=4, seed=7, fresh=True)
        assert drawn.tobytes() == same.image().tobytes()
