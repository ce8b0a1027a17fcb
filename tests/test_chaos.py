"""Random kills of the server and its workers lose nothing and double nothing; the long run is `benchmarks chaos`."""

import gc

import pytest

from tests.chaos import PLUGIN, SETTINGS, Chaos
from tests.serving import serve

pytestmark = pytest.mark.usefixtures("cold")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of clients whose server died
@pytest.mark.parametrize("durability, rounds", [("process", 8), ("power", 4)])
def test_random_kills_lose_nothing_and_double_nothing(durability, rounds):
    with serve({"chaos": PLUGIN}, durability=durability, **SETTINGS) as server:
        found = Chaos(server, seed=rounds).run(rounds)
        gc.collect()  # while those sockets are let off
        assert found["jobs"] >= 2 * rounds and found["kills"] >= rounds
        assert (found["lost"], found["doubled"], found["wrong"], found["store"]) == ([], [], {}, {})
