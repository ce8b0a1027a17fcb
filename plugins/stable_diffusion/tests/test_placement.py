"""Where weights are: on a CPU whose networks get real copies of their weights, as if it were another device."""

import dataclasses
import weakref

import pytest
import torch
from sd.placement import LARGEST, RESERVE, Mode, Need, Placement
from sd.variants import variant
from torch import nn

MB = 1_000_000
NEED = Need(model=1, weights=(250 * MB, 1700 * MB, 350 * MB), rows=150 * MB, decoding=900 * MB, tile=250 * MB)


class Device(Placement):
    """Counts the bytes that are there: those of the copies that live."""

    def __init__(self, memory="auto"):
        super().__init__("cpu", memory)
        self.moves, self.live, self.brought, self.most = True, weakref.WeakSet(), 0, 0

    @property
    def there(self):
        return sum(storage.nbytes() for storage in self.live)

    def _brought(self, tensor, dtype=None):
        if tensor.untyped_storage() in self.live and dtype in (None, tensor.dtype):
            return tensor
        brought = super()._brought(tensor, dtype).clone()
        self.live.add(brought.untyped_storage())
        self.brought += brought.untyped_storage().nbytes()
        self.most = max(self.most, self.there)
        return brought

    def _taken(self, tensor):
        return super()._taken(tensor).clone()


def network(layers=4):
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(50, 50) for _ in range(layers))).requires_grad_(False)
    net.dtype = torch.float32
    return net


SIZE = 4 * (50 * 50 + 50)  # of a layer in bytes
X = torch.ones(1, 50)


def test_in_full_mode_networks_stay_where_they_were_brought_once():
    place, one, other = Device("full"), network(), network()
    for _ in range(3):
        for each in (one, other):
            with place.present(each) as (net,):
                assert net is each
    assert place.brought == place.there == 8 * SIZE


def test_in_medium_mode_networks_take_turns():
    place, one, other = Device("medium"), network(), network()
    wanted = one(X)
    for each in (one, one, other, one):
        with place.present(each) as (net,):
            assert torch.equal(net(X), wanted)
    assert (place.most, place.brought) == (4 * SIZE, 12 * SIZE)


def test_networks_that_are_called_together_are_there_together():
    place, one, other = Device("medium"), network(), network()
    with place.present(one, other) as nets:
        assert [torch.equal(net(X), one(X)) for net in nets] == [True, True]
    assert place.there == 8 * SIZE


def test_in_low_mode_one_layer_is_there_at_a_time():
    place, one = Device("low"), network()
    wanted = one(X)
    for _ in range(2):
        with place.present(one) as (net,):
            assert torch.equal(net(X), wanted)
    assert (place.most, place.there, place.brought) == (SIZE, 0, 8 * SIZE)
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in net)


def test_a_layer_that_fails_in_low_mode_leaves_too():
    place, one = Device("low"), network()
    with pytest.raises(RuntimeError), place.present(one) as (net,):
        net(torch.ones(1, 51))
    assert place.there == 0
    with place.present(one) as (net,):
        assert torch.equal(net(X), one(X))


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.MEDIUM])
def test_what_had_come_when_memory_ran_out_is_not_left_there(mode):
    place, one, room = Device(), network(), [5]
    place._given, bring = mode, place._brought

    def limited(tensor, dtype=None):
        room[0] -= 1
        if room[0] < 0:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return bring(tensor, dtype)

    place._brought = limited
    with pytest.raises(torch.OutOfMemoryError), place.present(one):
        pass
    place._given, room[0] = Mode.LOW, 100
    with place.present(one) as (net,):
        assert torch.equal(net(X), one(X))
    assert place.there == 0
    place._given = Mode.MEDIUM
    with place.present(one) as (net,):
        assert place.there == 4 * SIZE


@pytest.mark.parametrize("mode", ["medium", "full"])
def test_a_variant_brings_only_what_is_its_own(mode):
    place, base = Device(mode), network()
    changed = variant(base, {"0.weight": [lambda W: W]})
    changed.dtype = base.dtype
    for each in (base, changed):
        with place.present(each) as (net,):
            assert torch.equal(net(X), each(X))
    assert place.brought == 4 * SIZE + 4 * 50 * 50


def test_the_network_itself_stays_as_it_is_while_its_copy_is_at_work():
    place, base = Device("medium"), network()
    with place.present(base) as (net,):
        changed = variant(base, {"0.weight": [lambda W: W]})
        assert net[0].weight is not base[0].weight
        assert changed[1].weight is base[1].weight


def test_a_mode_can_change_both_ways_between_calls():
    place, one, other = Device(), network(), network()
    wanted = one(X)
    for mode, there in ((Mode.FULL, 8), (Mode.MEDIUM, 4), (Mode.LOW, 0), (Mode.MEDIUM, 4), (Mode.FULL, 8)):
        place._given = mode
        for each in (one, other):
            with place.present(each) as (net,):
                assert torch.equal(net(X), wanted)
        del net
        assert place.there == there * SIZE


@pytest.mark.parametrize("mode", ["full", "medium", "low"])
def test_a_network_can_be_called_in_another_precision(mode):
    place, one = Device(mode), network()
    with place.present(one, dtype=torch.float64) as (net,):
        assert torch.allclose(net(X.double()), one(X).double())
    assert one[0].weight.dtype == torch.float32
    with place.present(one) as (net,):
        assert torch.equal(net(X), one(X))


def test_what_was_used_is_freed_when_nobody_has_it():
    place, one = Device("medium"), network()
    with place.present(one) as (net,):
        net(X)
    del net, one
    assert place.there == 0


@pytest.mark.parametrize(("free", "mode"), [(4000, Mode.FULL), (3000, Mode.MEDIUM), (2000, Mode.LOW)])
def test_the_mode_is_the_most_that_fits(free, mode):
    assert Device().suitable(NEED, free * MB) is mode


def test_jobs_in_flight_share_the_memory():
    place = Device()
    place.free_bytes = lambda: 4000 * MB
    other = dataclasses.replace(NEED, model=2)
    with place.stay(NEED):
        assert place.mode is Mode.FULL
        with place.stay(NEED):
            assert place.mode is Mode.FULL
        with place.stay(other):
            assert place.mode is Mode.MEDIUM
        assert place.mode is Mode.FULL


def test_models_make_room_for_a_job_only_where_all_are_on_the_device():
    full = Device("full")
    full.free_bytes = lambda: 4000 * MB
    assert full.room(NEED) == 4000 * MB - RESERVE - NEED.decoding
    assert Device("medium").room(NEED) == Placement("cpu").room(NEED) == LARGEST


def test_a_careful_job_does_with_less():
    place, told = Device("medium"), []
    with place.stay(NEED, careful=True, tell=told.append) as stay:
        assert (place.mode, stay.mode) == (Mode.LOW, Mode.LOW)
    assert told == ["memory: drawn in low mode, for the device has no room for more."]


def test_when_memory_runs_out_all_jobs_go_on_with_less_and_larger_ones_begin_so():
    place, told = Device(), []
    place.free_bytes = lambda: 4000 * MB
    with place.stay(NEED, tell=told.append) as stay:
        assert place.lower()
        assert (place.mode, stay.mode) == (Mode.MEDIUM, Mode.MEDIUM)
        assert place.lower()
        assert not place.lower()
    assert told[0] == "memory: it did not suffice in full mode; going on in medium mode."
    assert place.suitable(NEED) is Mode.LOW
    assert place.suitable(Need(1, NEED.weights, 100 * MB, 800 * MB, 250 * MB)) is Mode.FULL
