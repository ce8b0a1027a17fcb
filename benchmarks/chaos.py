"""What 100 random kills of the server and its workers cost: no job lost, no result doubled."""

import random


def measure(scale):
    from tests import chaos

    found = chaos.run(rounds=max(1, int(100 * scale)), seed=random.randrange(1 << 32))
    yield "jobs lost", len(found.lost), ""
    yield "results doubled", len(found.doubled), ""
