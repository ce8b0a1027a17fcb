"""For the tests of plugins: the plugin and its context as the worker has them, no server."""

import importlib.util
import sys

from core.plugin import Context


def import_as(name, folder):
    """Make a plugin's folder the package `name`, so that its tests can import from it."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def context_of(scratch, models, listen=lambda event, body: None):
    """A context of a job; `listen(event, body)` hears what the job tells, as does the list `context.told`."""
    told = []

    def send(event, body):
        told.append((event, body))
        listen(event, body)

    context = Context("job", scratch, models, send)
    context.told = told
    return context
