"""The benchmarks run and tell what they should; how fast they find it is not tested."""

import importlib
import json
import subprocess
import sys

import pytest

from benchmarks.goals import BENCHMARKS, GOALS, Measurement
from core.ops import environments
from tests.serving import ROOT


def run(*arguments, timeout=120):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )


def test_json_lines_have_the_promised_form():
    rows = [json.loads(line) for line in run("sockets", "--json", "--scale", "0.01").stdout.splitlines()]
    assert {row["benchmark"] for row in rows} == {"sockets"}
    assert all(list(row) == ["benchmark", "metric", "value", "unit", "goal", "ok"] for row in rows)
    assert {row["goal"] for row in rows if row["metric"] == "progress to all, p99"} == {"<= 250"}


@pytest.mark.slow
def test_every_goal_of_the_kernel_is_measured():
    answer = run("queue", "server", "cancel", "sweep", "--json", "--scale", "0.001")
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    measured = {(row["benchmark"], row["metric"]) for row in rows}
    assert {goal for goal in GOALS if goal[0] in ("queue", "server", "cancel", "sweep")} <= measured


@pytest.mark.slow
@pytest.mark.torch
def test_every_goal_of_pictures_is_measured():
    answer = run("sd", "--json", "--scale", "0.01", timeout=600)
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    measured = {(row["benchmark"], row["metric"]): row["value"] for row in rows}
    assert {goal for goal in GOALS if goal[0] == "sd"} <= measured.keys(), answer.stderr
    assert all(value > 0 for (_, metric), value in measured.items() if "CPU" not in metric)


@pytest.mark.slow
@pytest.mark.torch
def test_every_goal_of_enlarging_is_measured():
    answer = run("image", "--json", "--scale", "0.01", timeout=600)
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    measured = {row["metric"]: row["value"] for row in rows}
    assert {metric for name, metric in GOALS if name == "image"} <= measured.keys(), answer.stderr
    assert all(value > 0 for value in measured.values())


@pytest.mark.torch
def test_networks_of_published_sizes_are_measured_without_weights():
    python = environments.ensure(ROOT / "plugins/stable_diffusion", ROOT / ".envs")
    command = [python, "-W", "ignore", "-m", "benchmarks.networks", "cpu", "0.01"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [row[0] for row in rows] == [f"{name}, {n} at once, eager" for name in ("SD 1.5", "SDXL") for n in (1, 8)]
    assert all(value > 0 and unit == "steps/s" for _, value, unit in rows)


def test_every_name_is_a_benchmark_and_every_goal_belongs_to_one():
    assert {benchmark for benchmark, _ in GOALS} == set(BENCHMARKS)
    assert all(callable(importlib.import_module(f"benchmarks.{name}").measure) for name in BENCHMARKS)


def test_only_a_number_with_a_goal_can_miss_it():
    assert Measurement("server", "idle memory", 101, "MB").ok is False
    assert Measurement("server", "idle memory", 100, "MB").ok is True
    assert Measurement("sockets", "events sent", 1, "events/s").ok is None


def test_an_unknown_name_is_refused_with_those_there_are():
    answer = run("speed")
    assert answer.returncode == 2
    assert "there is no benchmark speed. There are queue, server" in answer.stderr
