"""What the whole stack (queue, worker, previews, PNG, store) takes from the speed of a pipeline, picture by picture."""

from benchmarks.cost import cpu_of, median
from benchmarks.pictures import both_sides, submit, timed


def measure(scale):
    rounds, steps = max(2, int(24 * scale)), max(2, int(20 * min(scale, 1)))
    with both_sides(1) as (server, (client,), bare):

        def draw(seed):
            submit(client, steps, seed)
            client.until("done")

        draw(0)
        bare.seconds(1, steps, 0)
        stack, pipeline, ratios = [], [], []
        with cpu_of(server, client) as cpu:
            for seed in range(rounds):  # side by side, so that what slows the machine slows both
                stack.append(timed(lambda seed=seed: draw(seed)))
                pipeline.append(bare.seconds(1, steps, seed))
                ratios.append(pipeline[-1] / stack[-1])
    yield "whole stack / bare pipeline", median(ratios), ""
    yield "whole stack", 1 / median(stack), "images/s"
    yield "bare pipeline", 1 / median(pipeline), "images/s"
    yield "CPU of the server", cpu["server"] / rounds * 1000, "ms/job"
