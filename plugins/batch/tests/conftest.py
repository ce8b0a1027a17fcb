"""The plugin's folder as the package `batch_plugin`, so that its tests can import from it."""

from pathlib import Path

from tests.inside import import_as

import_as("batch_plugin", Path(__file__).resolve().parents[1])
