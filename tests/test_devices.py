"""Which devices are used where nobody has said so, and which builds of PyTorch can be asked for."""

import re
import subprocess
import sys

import pytest

from core.library import usage
from core.ops import devices, environments
from core.ops.config import Config
from tests.serving import ROOT


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A function that says what the machine has."""

    def machine(nvidia=0, amd=0, system="Linux", processor="x86_64", **environment):
        tool = tmp_path / "nvidia-smi"
        lines = "".join(f"echo GPU {k}: Card\n" for k in range(nvidia))
        tool.write_text(f"#!/bin/sh\n{lines}")
        tool.chmod(0o755 if nvidia else 0o644)
        for k, simds in enumerate([0] + [64] * amd):  # the first is the processor
            (tmp_path / "nodes" / str(k)).mkdir(parents=True)
            (tmp_path / "nodes" / str(k) / "properties").write_text(f"cpu_cores_count 8\nsimd_count {simds}\n")
        monkeypatch.setattr(devices, "ROCM_NODES", tmp_path / "nodes")
        monkeypatch.setattr(devices.platform, "system", lambda: system)
        monkeypatch.setattr(devices.platform, "machine", lambda: processor)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
        for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return machine


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script here")
@pytest.mark.parametrize(
    ("backend", "has", "found"),
    [
        ("auto", {}, ["cpu"]),
        ("auto", {"nvidia": 2}, ["cuda:0", "cuda:1"]),
        ("cu130", {"nvidia": 1}, ["cuda:0"]),
        ("cpu", {"nvidia": 2}, ["cpu"]),
        ("auto", {"nvidia": 3, "CUDA_VISIBLE_DEVICES": "2,0"}, ["cuda:0", "cuda:1"]),
        ("auto", {"nvidia": 3, "CUDA_VISIBLE_DEVICES": ""}, ["cpu"]),
        ("auto", {"nvidia": 3, "CUDA_VISIBLE_DEVICES": "1,-1,2"}, ["cuda:0"]),
        ("auto", {"nvidia": 1, "system": "Windows"}, ["cpu"]),
        ("cu130", {"nvidia": 1, "system": "Windows"}, ["cuda:0"]),
        ("rocm6.4", {"amd": 2}, ["cuda:0", "cuda:1"]),
        ("rocm6.4", {"amd": 2, "HIP_VISIBLE_DEVICES": "1"}, ["cuda:0"]),
        ("auto", {"amd": 2}, ["cpu"]),
        ("xpu", {}, ["xpu:0"]),
        ("auto", {"system": "Darwin", "processor": "arm64"}, ["mps"]),
        ("cpu", {"system": "Darwin", "processor": "arm64"}, ["cpu"]),
        ("auto", {"system": "Darwin", "processor": "x86_64"}, ["cpu"]),
    ],
)
def test_devices_are_what_the_machine_has_and_the_build_can_use(machine, backend, has, found):
    machine(**has)
    assert devices.find(["auto"], backend) == found


@pytest.mark.parametrize(("cards", "found"), [([], 1), (["02"], 1), (["02", "3a"], 1), (["3a", "3b"], 2)])
def test_cards_of_intel_are_counted_without_what_is_in_the_processor(monkeypatch, tmp_path, cards, found):
    for k, bus in enumerate(cards):
        place = tmp_path / "pci" / f"0000:{'00:02' if bus == '02' else f'{bus}:00'}.0"
        place.mkdir(parents=True)
        (place / "vendor").write_text("0x8086\n")
        (tmp_path / f"renderD{128 + k}").mkdir()
        (tmp_path / f"renderD{128 + k}" / "device").symlink_to(place)
    monkeypatch.setattr(devices, "CARDS", tmp_path)
    assert devices.find(["auto"], "xpu") == [f"xpu:{k}" for k in range(found)]


def test_the_memory_of_amds_cards_is_read_in_torchs_order(monkeypatch, tmp_path):
    for k in range(2):
        node, card = tmp_path / "nodes" / str(k + 1), tmp_path / "cards" / f"renderD{128 + k}" / "device"
        node.mkdir(parents=True)
        card.mkdir(parents=True)
        (node / "properties").write_text(f"simd_count 64\ndrm_render_minor {128 + k}\n")
        (card / "mem_info_vram_total").write_text(f"{16 + k}000\n")
        (card / "mem_info_vram_used").write_text("1000\n")
    (card / "product_name").write_text("Radeon\n")
    monkeypatch.setattr(devices, "ROCM_NODES", tmp_path / "nodes")
    monkeypatch.setattr(devices, "CARDS", tmp_path / "cards")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1,0")
    devices.title.cache_clear()
    assert devices.about("cuda:0", "rocm6.4") == {"title": "Radeon", "free_bytes": 16000, "total_bytes": 17000}
    assert devices.about("cuda:1", "rocm6.4") == {
        "title": "AMD graphics card", "free_bytes": 15000, "total_bytes": 16000,
    }  # fmt: skip
    assert devices.memory("cuda:2", "rocm6.4") == (None, None)
    devices.title.cache_clear()


@pytest.mark.parametrize(
    ("device", "told", "shared"),
    [
        ("cpu", "cpu", "cpu"), ("cpu:1", "cpu", "cpu"), ("cuda:1", "cuda:1", "cuda:1"), ("mps", "mps", "mps"),
        ("gpu1/cuda:1", "cuda:1", "gpu1/cuda:1"), ("gpu1/cpu:0", "cpu", "gpu1/cpu"), ("ray/12", "cpu", "ray/12"),
    ],
)  # fmt: skip
def test_plugins_are_told_the_device_and_memory_is_that_of_the_machine(device, told, shared):
    assert re.fullmatch(devices.PATTERN, device) and (devices.told(device), devices.shared(device)) == (told, shared)


def test_devices_that_are_named_are_taken():
    assert devices.find(["xpu:1", "cpu"], "cpu") == ["xpu:1", "cpu"]


def test_builds_that_are_named_are_known_to_uv():
    known = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "--help"], capture_output=True, text=True, check=True
    ).stdout
    (values,) = re.findall(r"TORCH_BACKEND=\S* \[possible values: ([^\]]+)\]", " ".join(known.split()))
    texts = Config.model_fields["torch_backend"].description + (ROOT / "README.md").read_text()
    named = set(re.findall(r"\b(?:cu\d{3}|rocm\d\.\d|xpu|cpu)\b", texts))
    assert {"cpu", "xpu"} < named and named <= set(values.split(", "))


@pytest.mark.parametrize("backend", ["cpu", "cu130", "rocm6.4", "xpu"])
def test_uv_is_asked_for_the_build(monkeypatch, tmp_path, backend):
    asked = []

    def uv(*arguments, **more):
        asked.append(arguments)
        if "compile" in arguments:
            (tmp_path / arguments[arguments.index("-o") + 1]).write_text("")

    monkeypatch.setattr(environments, "uv", uv)
    monkeypatch.setattr(environments, "compile_bytecode", lambda folder, held: None)
    recipe = environments.recipe_of(ROOT / "plugins" / "stable_diffusion", backend)
    recipe.folder(tmp_path).mkdir()
    environments.make(recipe, recipe.folder(tmp_path), lambda line: None, None, True)
    wanted = [each for each in asked if each[:2] in (("pip", "compile"), ("pip", "sync"))]
    assert len(wanted) == 2 and all(f"--torch-backend {backend}" in " ".join(each) for each in wanted)
    assert "--universal" not in wanted[0]  # each system has its own index


def test_the_memory_of_cards_is_not_taken_for_that_of_the_machine(monkeypatch):
    class Torch:
        class xpu:
            is_initialized, memory_reserved = staticmethod(lambda: True), staticmethod(lambda device: 7)
            max_memory_reserved = staticmethod(lambda device: 9)
            reset_peak_memory_stats = empty_cache = staticmethod(lambda *device: None)

    monkeypatch.setitem(sys.modules, "torch", Torch)
    assert usage.used_bytes("xpu:0") == 7 and usage.Peak("xpu:0").bytes() == 9
    assert devices.memory("xpu:0") == (None, None)
    free, total = devices.memory("cpu:1")
    assert 0 < free < total
