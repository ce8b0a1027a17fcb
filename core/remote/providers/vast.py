"""vast.ai: offers of many hosts, taken, listed and destroyed by its REST API v0 (the list: v1, as v0's is deprecated).

- docs.vast.ai/api-reference/search/search-offers: POST bundles/ with filters as {"eq": ...}, order, type, limit, and
  allocated_storage in GB, which the price includes. Offers: id, gpu_name, gpu_ram in MB, dph_total in $/hour,
  geolocation, reliability, inet_down, direct_port_count, disk_space, cuda_max_good.
- docs.vast.ai/api-reference/instances/create-instance: PUT asks/ID/ with image, label, disk, runtype, target_state,
  cancel_unavail, onstart; new_contract is the instance. 404 and 410 (no_such_ask): somebody else has it by now; 400
  invalid_price: it costs something else by now.
- docs.vast.ai/api-reference/instances/show-instance: instances, an object or null: label, actual_status (null, created:
  set up; loading: the image is fetched; running; exited, unknown, offline: it will never run: SKILL.md of
  github.com/vast-ai/vast-cli), status_msg, public_ipaddr, ports, ssh_host, ssh_port, dph_total.
- docs.vast.ai/api-reference/instances/show-instances-v1: api/v1/instances/ with select_filters, limit.
- docs.vast.ai/api-reference/instances/attach-ssh-key: POST instances/ID/ssh/ with ssh_key.
- docs.vast.ai/guides/instances/docker-environment: onstart, ~/.no_auto_tmux, CONTAINER_API_KEY and CONTAINER_ID."""

import contextlib
import json
import re
import shlex
from typing import Annotated, Any

from pydantic import BaseModel, Field

from core.errors import Conflict, CoreError, NotFound
from core.remote import leaving
from core.remote.providers import TITLES, Machine, Offer, Wish
from core.remote.providers.web import Dollars, Web

IMAGE = "vastai/base-image:@vastai-automatic-tag"  # the API's own default; a tag for the driver there is chosen
RELIABLE = 0.98
MAX_OFFERS = 100
STAGES = {
    None: "scheduling", "": "scheduling", "created": "scheduling", "loading": "pulling", "rebooting": "pulling",
    "unknown": "lost", "offline": "lost",
}  # fmt: skip
MIXED = {"ada": "Ada", "super": "SUPER", "ti": "Ti", "laptop": "Laptop"}


class Ask(BaseModel):
    id: int
    gpu_name: str
    dph_total: Dollars
    gpu_ram: float = 0  # MB
    geolocation: str | None = None
    reliability: float | None = None
    inet_down: float | None = None  # Mbit/s


class Asks(BaseModel):
    offers: list[Ask]


class Contract(BaseModel):
    success: bool
    new_contract: int


class Instance(BaseModel):
    id: int
    label: str | None = None
    actual_status: str | None = None
    intended_status: str | None = None
    status_msg: str | None = None
    public_ipaddr: str | None = None
    ports: Any = None
    ssh_host: str | None = None
    ssh_port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    image_runtype: str | None = None
    dph_total: Dollars | None = None


class Instances(BaseModel):
    instances: list[Instance]


class Port(BaseModel):
    HostPort: int = Field(gt=0, lt=65536)


class Vast:
    name, user = "vast", "root"

    def __init__(self, key: str):
        self._web = Web(TITLES[self.name], key)
        self._v0 = leaving.base(self.name) + "/api/v0"
        self._v1 = leaving.base(self.name) + "/api/v1"

    def search(self, wish: Wish) -> list[Offer]:
        query: dict[str, Any] = {
            "type": "ondemand", "verified": {"eq": True}, "rentable": {"eq": True}, "external": {"eq": False},
            "num_gpus": {"eq": 1}, "gpu_name": {"in": sorted({wish.gpu, _named(wish.gpu)})},
            "reliability": {"gte": RELIABLE}, "direct_port_count": {"gte": 1}, "disk_space": {"gte": wish.disk_gb},
            "cuda_max_good": {"gte": 12.4}, "allocated_storage": wish.disk_gb, "order": [["dph_total", "asc"]],
            "limit": MAX_OFFERS,
        }  # fmt: skip
        if wish.region:
            query["geolocation"] = {"in": [wish.region.upper()]}
        asks = self._web.parse(Asks, self._web.read("POST", f"{self._v0}/bundles/", json=query)).offers
        return sorted((_offer(ask) for ask in asks), key=lambda offer: offer.price)

    def create(self, offer: Offer, wish: Wish, label: str, public_key: str) -> Machine:
        body = {
            "client_id": "me", "image": wish.image or IMAGE, "disk": wish.disk_gb, "label": label,
            "runtype": "ssh_direct", "target_state": "running", "cancel_unavail": True,
            "onstart": start_script(wish.seconds, public_key),
        }  # fmt: skip
        try:
            answer = self._web.make("PUT", f"{self._v0}/asks/{offer.id}/", body)
        except Conflict as error:
            if "invalid_price" in str(error):
                raise NotFound(str(error)) from error
            raise
        made = self._web.parse(Contract, answer)
        if not made.success:
            raise Conflict(f"vast.ai did not make the machine: {str(answer)[:300]}")
        with contextlib.suppress(CoreError):  # the machine takes the key by itself, too: start_script
            self._web.make("POST", f"{self._v0}/instances/{made.new_contract}/ssh/", {"ssh_key": public_key})
        return Machine(str(made.new_contract), label, "scheduling")

    def get(self, identity: str) -> Machine | None:
        answer = self._web.read("GET", f"{self._v0}/instances/{int(identity)}/", params={"owner": "me"})
        found = answer.get("instances") if isinstance(answer, dict) else answer
        return None if found is None else _machine(self._web.parse(Instance, found))

    def find(self, label: str) -> Machine | None:
        params = {"select_filters": json.dumps({"label": {"eq": label}}), "limit": "25"}
        answer = self._web.read("GET", f"{self._v1}/instances/", params=params)
        found = self._web.parse(Instances, answer).instances
        return next((_machine(each) for each in found if each.label == label), None)

    def destroy(self, identity: str) -> None:
        answer = self._web.read("DELETE", f"{self._v0}/instances/{int(identity)}/", json={})
        if isinstance(answer, dict) and answer.get("success") is False:
            raise Conflict(f"vast.ai did not destroy {identity}: {str(answer)[:300]}")


def start_script(seconds: int, public_key: str) -> str:
    """What a machine runs when it starts: no tmux around what is said over SSH, our key, and a clock that ends the
    machine from inside even if nobody ever reaches it."""
    place = f"{leaving.BASES['vast']}/api/v0/instances/$CONTAINER_ID/"
    return f"""touch ~/.no_auto_tmux
mkdir -p ~/.ssh; grep -qsF {shlex.quote(public_key)} ~/.ssh/authorized_keys || echo {shlex.quote(public_key)} >> ~/.ssh/authorized_keys
chmod 700 ~/.ssh; chmod 600 ~/.ssh/authorized_keys
(sleep {seconds}; curl -fsS -X DELETE -H "Authorization: Bearer $CONTAINER_API_KEY" {place}) >/dev/null 2>&1 &
"""  # noqa: E501


def _offer(ask: Ask) -> Offer:
    note = ", ".join(
        text.format(value)
        for text, value in (("{:.1%} reliable", ask.reliability), ("{:,.0f} Mbit/s down", ask.inet_down))
        if value is not None
    )
    return Offer(str(ask.id), ask.gpu_name, ask.dph_total, round(ask.gpu_ram / 1024, 1), ask.geolocation or "", note)


def _machine(instance: Instance) -> Machine:
    host, port = _address(instance)
    status = instance.actual_status
    stage = STAGES.get(status, "ended")
    if status == "running":
        stage = "running" if host else "pulling"
    elif instance.intended_status in ("stopped", "deleted"):
        stage = "ended"
    text = " ".join(word.strip() for word in (status, instance.status_msg) if word)
    return Machine(str(instance.id), instance.label or "", stage, text[:200], host, port, instance.dph_total)


def _address(instance: Instance) -> tuple[str, int]:
    """Its own port 22, as vast.ai's command line finds it, else the way by vast.ai's proxy."""
    with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):
        port = Port.model_validate(instance.ports["22/tcp"][0]).HostPort
        if instance.public_ipaddr and instance.public_ipaddr.strip():
            return instance.public_ipaddr.strip(), port
    return (instance.ssh_host or "").strip(), instance.ssh_port or 22


def _named(gpu: str) -> str:
    """ "RTX 4090" for rtx_4090 or NVIDIA GeForce RTX 4090: as vast.ai writes it."""
    words = re.sub(r"nvidia|geforce", "", gpu.replace("_", " "), flags=re.I).split()
    return " ".join(MIXED.get(word.lower(), word.upper()) for word in words)
