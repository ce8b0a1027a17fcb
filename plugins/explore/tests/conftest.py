"""The plugin as the worker has it, no server."""

from pathlib import Path

from core.ops.describe import load_plugin

FOLDER = Path(__file__).resolve().parents[1]
KIND = load_plugin(FOLDER)  # as the package stable_core_plugin_explore, which the tests import from
