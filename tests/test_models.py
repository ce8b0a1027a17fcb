"""Where model files are found: in folders, behind links, and never outside of what was meant."""

import os

import pytest

import clients.python
from core.errors import ModelNotFound
from core.library.arrivals import Arrivals
from core.library.models import Models
from tests.serving import HEADER, serve
from tests.shell import in_process
from tests.wire import Wire


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models" / "lora" / "portraits").mkdir(parents=True)
    (tmp_path / "models" / "lora" / "portraits" / "v2.safetensors").write_bytes(b"")
    (tmp_path / "models" / "lora" / "notes.txt").write_bytes(b"")
    (tmp_path / "secret.safetensors").write_bytes(b"")
    return Models(tmp_path / "models", [{"kind": "lora", "name": "shipped", "path": "/somewhere"}])


def test_names_are_paths_below_the_folder_of_their_kind(models):
    assert [*models.entries("lora")] == ["shipped", "portraits/v2.safetensors"]
    assert models.entries("checkpoint") == {}


def test_the_folder_of_another_app_can_be_linked_to(models, tmp_path):
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "other" / "deep" / "a.pt").write_bytes(b"")
    os.symlink(tmp_path / "other", models.folder / "embedding")
    os.symlink(tmp_path / "other", models.folder / "lora" / "other")
    assert [*models.entries("embedding")] == ["deep/a.pt"]
    assert "other/deep/a.pt" in models.entries("lora")


def test_a_link_that_goes_in_circles_is_followed_once(models):
    os.symlink(models.folder / "lora", models.folder / "lora" / "again")
    assert [*models.entries("lora")] == ["shipped", "portraits/v2.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")
def test_what_cannot_be_read_or_named_is_no_model(models):
    folder = models.folder / "lora"
    os.mkfifo(folder / "pipe.safetensors")
    os.symlink("/dev/zero", folder / "zero.ckpt")
    os.symlink("loop.pt", folder / "loop.pt")
    with open(os.fsencode(folder) + b"/\xff.pt", "wb"):
        pass
    assert [*models.entries("lora")] == ["shipped", "portraits/v2.safetensors"]


@pytest.mark.parametrize("kind", ["..", ".", "", "../models/lora", "lora/portraits", "/etc"])
def test_a_kind_leads_nowhere_else(models, kind):
    assert models.entries(kind) == {}


def test_a_name_that_is_not_there_names_the_nearest(models):
    with pytest.raises(ModelNotFound, match="Did you mean portraits/v2.safetensors"):
        models.path("lora", "portraits/v3.safetensors")
    with pytest.raises(ModelNotFound):
        models.path("lora", "../../secret.safetensors")


def test_a_model_to_be_fetched_says_how_large_it_is_its_licence_and_how(models):
    big = {"kind": "lora", "name": "by hand/big.pth", "size_bytes": 67_040_989, "licence": "MIT"}
    models.fetchable = [big, {"kind": "vae", "name": "fine.pt", "size_bytes": None, "licence": None}]
    how = "67 MB, licence MIT. To fetch it: python3 server.py plugins fetch 'lora/by hand/big.pth'"
    with pytest.raises(ModelNotFound) as missing:
        models.path("lora", "by hand/big.pth")
    assert str(missing.value) == f"the lora model 'by hand/big.pth' is not here yet: {how}"
    assert str(models.folder / "lora" / "by hand" / "big.pth") in missing.value.wire()["hint"]
    with pytest.raises(ModelNotFound) as misspelt:
        models.path("lora", "by hand/bag.pth")
    assert str(misspelt.value).startswith("there is no lora model 'by hand/bag.pth'. Did you mean by hand/big.pth?")
    assert str(misspelt.value).endswith(how)
    how = "size not told, licence not told. To fetch it: python3 server.py plugins fetch vae/fine.pt"
    with pytest.raises(ModelNotFound, match=f"no vae model 'x'. Did you mean fine.pt?.*{how}"):
        models.path("vae", "x")
    (models.folder / "lora" / "by hand").mkdir()
    (models.folder / "lora" / "by hand" / "big.pth").touch()
    assert models.path("lora", "by hand/big.pth").is_file()


NEEDY = """
class Needs(Params):
    model: str = param("fine.pt", choices_from="models/vae", help="What to use.")


class Needy(Plugin):
    @job()
    def draw(self, params: Needs, ctx: Context) -> Text:
        return ctx.models.path("vae", params.model).name

    @job(light=True)
    def tell(self, ctx: Context) -> Text:
        return ctx.models.path("vae", "fine.pt").name
"""
FINE = """
[[models]]
kind = "vae"
name = "fine.pt"
url = "https://models.example/fine.pt"
size_bytes = 1_500_000_000
licence = "CC-BY-4.0"
"""


def test_jobs_lists_and_the_command_line_say_what_can_be_fetched():
    def put(folder):
        plugin = folder / "plugins" / "needy"
        plugin.mkdir(parents=True)
        (plugin / "plugin.toml").write_text('name = "needy"\nversion = "1"\napi = 1\n' + FINE)
        (plugin / "__init__.py").write_text(HEADER + NEEDY)

    how = "1.5 GB, licence CC-BY-4.0. To fetch it: python3 server.py plugins fetch vae/fine.pt"
    with serve({}, before_start=put) as server, Wire(server) as wire, server.client() as client:
        job = client.submit("draw", {"model": "fine.pt"})
        with pytest.raises(clients.python.ModelNotFound, match=f"the vae model 'fine.pt' is not here yet: {how}"):
            job.wait()
        with pytest.raises(clients.python.ModelNotFound, match=how):
            client.light("tell")
        assert in_process(client, "choices", "models/vae").stderr == f"fine.pt is not here: {how}\n"
        assert (
            "none yet in models/vae; 1 to be fetched: choices models/vae"
            in in_process(client, "run", "draw", "--help").stdout
        )
        answer = wire.call("choices", {"list": "models/vae"})
        assert [each["id"] for each in answer["fetchable"]] == ["vae/fine.pt"] and answer["choices"] == []
        (server.folder / "models" / "vae").mkdir(parents=True)
        (server.folder / "models" / "vae" / "fine.pt").touch()
        assert wire.call("choices", {"list": "models/vae"})["fetchable"] == []
        assert [each.text() for each in job.retry().wait()] == ["fine.pt"]


HELLO = """
class Hello(Plugin):
    @job()
    def hello(self) -> Text:
        return "hello"
"""


def test_everybody_is_told_when_models_come_or_go(tmp_path):
    checkpoints = ["models", "checkpoint", "mine"]
    with serve({"hello": HELLO}, tokens={"bot": "b" * 20}) as server, Wire(server, "b" * 20) as wire:

        def told():
            return [body["kinds"] for _, name, body in wire.state_events() if name == "models"]

        server.folder.joinpath(*checkpoints).mkdir(parents=True)
        wire.until(lambda: told() == [["checkpoint"]])
        (server.folder.joinpath(*checkpoints) / "new.safetensors").touch()
        wire.until(lambda: told() == [["checkpoint"]] * 2)
        assert wire.call("choices", {"list": "models/checkpoint"})["choices"] == ["mine/new.safetensors"]
        (server.folder.joinpath(*checkpoints) / "new.safetensors").rename(server.folder / "models" / "a.pt")
        wire.until(lambda: told() == [["checkpoint"]] * 3)


@pytest.fixture
def kinds(models):
    """What `Arrivals` tells after each change."""

    class Store:
        def write(self, change):
            change(self)

        def event(self, name, body, about):
            told.append(body["kinds"])

    class Catalogue:
        extra_models = ()

        def renew(self):
            pass

    told, arrivals = [], Arrivals(models.folder, Store(), Catalogue(), lambda function: function())
    arrivals.look()

    def kinds(change):
        told.clear()
        change()
        arrivals.look()
        return [kind for each in told for kind in each]

    return kinds


def test_only_names_count_and_those_with_a_dot_do_not(models, kinds):
    portraits = models.folder / "lora" / "portraits"
    assert kinds((portraits / ".part").touch) == []
    assert kinds(lambda: (portraits / "v2.safetensors").write_bytes(b"other")) == []
    assert kinds(lambda: (portraits / "v2.safetensors").rename(portraits / "v3.safetensors")) == ["lora"]


def test_files_that_come_in_one_moment_are_all_seen(models, kinds):
    folder = models.folder / "lora"
    moment = os.stat(folder).st_mtime_ns

    def add(name):  # a clock that stands still
        (folder / name).touch()
        os.utime(folder, ns=(moment, moment))

    assert [kinds(lambda name=name: add(name)) for name in ("a.pt", "b.pt")] == [["lora"], ["lora"]]


def test_folders_behind_links_count_and_circles_end(models, kinds, tmp_path):
    other = tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    assert kinds(lambda: (models.folder / "vae").symlink_to(other)) == ["vae"]
    assert kinds(lambda: (other / "deep" / "back").symlink_to(other)) == ["vae"]
    assert kinds((other / "deep" / "a.pt").touch) == ["vae"]
