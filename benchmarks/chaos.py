"""What random kills of the server and its workers cost, with all kinds of work under way: nothing lost or doubled."""

import random

from tests.serving import serve


def measure(scale):
    from tests.chaos import PLUGIN, SETTINGS, Chaos

    rounds, seed = max(1, int(100 * scale)), random.randrange(1 << 32)
    with serve({"chaos": PLUGIN}, **SETTINGS) as server:
        found = Chaos(server, seed).run(rounds)
    yield "seed", seed, ""
    yield "kills", found["kills"], ""
    yield "jobs", found["jobs"], ""
    yield "jobs lost", len(found["lost"]), ""
    yield "results doubled", len(found["doubled"]), ""
    yield "jobs with a wrong end", len(found["wrong"]), ""
    yield "faults in the store", len(found["store"]), ""
