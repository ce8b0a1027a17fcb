"""`devices` of the command line says in words what the event answers: devices, workers, other machines."""

from clients.cli import devices, show

WORKER = {"plugin": "upscale", "ready": True, "memory_bytes": 900_000_000, "warm": "x4", "jobs": ["j1"]}
RULE = {"jobs": ["upscale.*"], "priorities": ["batch"], "when": "only"}
RENTED = {"provider": "vast", "price_per_hour": 0.4, "spend_limit": 5.0, "spent": 1.2}


def told(found, capsys):
    devices.tell({"devices": [], "remotes": [], "queued": {}} | found)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_each_worker_is_a_line_below_its_device(capsys, monkeypatch):
    monkeypatch.setattr(show.out, "_width", 200)
    card = {"name": "cuda:0", "title": "RTX 4090", "state": "ready", "free_bytes": 17e9, "total_bytes": 25e9}
    other = {"name": "gpu1/cpu", "title": "", "state": "away", "free_bytes": None, "total_bytes": None, "workers": []}
    starting = WORKER | {"plugin": "faces", "ready": False, "warm": None, "memory_bytes": 0, "jobs": []}
    lines = told({"devices": [card | {"workers": [WORKER, starting]}, other], "queued": {"upscale": 3}}, capsys)
    words = [line.split() for line in lines]
    assert words[1] == ["cuda:0", *"17.0 GB of 25.0 GB".split(), "upscale", "running", "900.0", "MB", "x4", "j1", "RTX", "4090"]  # fmt: skip  # noqa: E501
    assert words[2:4] == [["faces", "starting"], ["gpu1/cpu", "away"]]
    assert lines[-1] == "queued  3 of upscale"


def test_a_machine_says_what_is_wrong_and_what_it_costs(capsys):
    error = {"message": "It has another host key.", "hint": "Say deploy trust gpu1."}
    machine = {"name": "gpu1", "state": "failed", "address": "me@h:22", "rule": RULE, "rented": RENTED, "error": error}
    lines = told({"remotes": [machine, {"name": "ray", "state": "connected"}]}, capsys)
    assert lines[0].endswith(
        "me@h:22  batch jobs upscale.* run there only  $0.40 an hour, $1.20 of at most $5.00 so far, at vast"
    )
    assert lines[1:3] == ["  It has another host key. Say deploy trust gpu1.", "ray  connected"]
