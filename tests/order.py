"""`pytest -p tests.order` begins with files that take long, so that at the end no lane works alone at one of them."""

import functools


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: -length(item.path))


@functools.cache
def length(file):
    """About how long the tests of a file take: as long as it is, and longer where it says that they are slow."""
    text = file.read_text("utf-8")
    return len(text) + 10_000 * text.count("mark.slow")
