"""What jobs gain that share the device: 8 clients at once, the same one after the other, and the pipeline's batch."""

from benchmarks.cost import median
from benchmarks.pictures import both_sides, submit, timed

CLIENTS = 8


def measure(scale):
    rounds, steps = max(1, int(5 * scale)), max(2, int(20 * min(scale, 1)))
    with both_sides(CLIENTS) as (_, clients, bare):

        def at_once(seed):
            ids = [submit(client, steps, seed + k) for k, client in enumerate(clients)]
            for client in clients:  # each follows all jobs
                wait_for(client, ids)

        def in_turn(seed):
            for k, client in enumerate(clients):
                wait_for(client, [submit(client, steps, seed + k)])

        at_once(0)
        bare.seconds(CLIENTS, steps, 0)
        together, alone, batch = [], [], []
        for seed in range(0, rounds * CLIENTS, CLIENTS):
            together.append(timed(lambda seed=seed: at_once(seed)))
            alone.append(timed(lambda seed=seed: in_turn(seed)))
            batch.append(bare.seconds(CLIENTS, steps, seed))
    gains = [one / many for one, many in zip(alone, together, strict=True)]
    shares = [theirs / ours for theirs, ours in zip(batch, together, strict=True)]
    yield "8 at once / one after the other", median(gains), ""
    yield "8 at once / the pipeline's batch of 8", median(shares), ""
    yield "8 at once", CLIENTS / median(together), "images/s"
    yield "one after the other", CLIENTS / median(alone), "images/s"
    yield "the pipeline's batch of 8", CLIENTS / median(batch), "images/s"


def wait_for(client, ids):
    missing = set(ids)
    while missing:
        missing -= set(client.until("done"))
