"""The Python SDK: `from clients.python import Client`. Its one file, stable_core.py, works alone as well."""

from clients.python.stable_core import *  # noqa: F403  - all but what begins with _
