"""The plugin as a package, for its tests to import from."""

from pathlib import Path

from tests.inside import import_as

import_as("isi", Path(__file__).resolve().parents[1])
