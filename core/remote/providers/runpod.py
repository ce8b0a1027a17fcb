"""RunPod: pods made, listed and deleted by its REST API v1; cards and prices from its GraphQL API, which has them.

- docs.runpod.io/api-reference/pods/POST/pods: name, cloudType, gpuTypeIds, gpuCount, imageName, containerDiskInGb,
  volumeInGb, ports, env, supportPublicIp, dataCenterIds, countryCodes, allowedCudaVersions, dockerStartCmd; 201, a Pod.
- docs.runpod.io/api-reference/pods/GET/pods/podId and .../GET/pods (filter: name): id, name, desiredStatus (RUNNING,
  EXITED, TERMINATED), costPerHr (a number, in its example a string), machineId, publicIp, portMappings, and
  lastStatusChange. While a pod is set up, desiredStatus is RUNNING already, and the address is empty.
- docs.runpod.io/api-reference/pods/DELETE/pods/podId: 204.
- docs.runpod.io/sdks/graphql/manage-pods: gpuTypes with id, displayName, memoryInGb, secureCloud, communityCloud,
  securePrice, communityPrice, and lowestPrice with stockStatus (High, Medium, Low; null: none left).
- docs.runpod.io/pods/configuration/use-ssh: SSH over exposed TCP, login as root; PUBLIC_KEY (which its images let in)
  and SSH_PUBLIC_KEY (in place of the account's keys); what starts an sshd in other images."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, Field

from core.errors import Conflict, NotFound, Timeout
from core.library.near import did_you_mean
from core.remote import leaving
from core.remote.providers import TITLES, Machine, Offer, Wish
from core.remote.providers.web import Dollars, Web

IMAGE = "runpod/base:0.7.0-cuda1281-ubuntu2404"  # github.com/runpod/containers, official-templates/base
CUDA = ["12.8", "12.9", "13.0"]  # of the drivers that this image runs with
CLOUDS = {"SECURE": ("secureCloud", "securePrice", "secure"), "COMMUNITY": ("communityCloud", "communityPrice", "open")}
QUERY = """query { gpuTypes { id displayName memoryInGb secureCloud communityCloud securePrice communityPrice
 secure: lowestPrice(input: {gpuCount: 1, secureCloud: true}) { stockStatus uninterruptablePrice }
 open: lowestPrice(input: {gpuCount: 1, secureCloud: false}) { stockStatus uninterruptablePrice } } }"""
NONE_LEFT = re.compile(r"no (longer any )?(instances?|gpus?|machines?)\b|not enough free|out of (stock|capacity)", re.I)


class Pod(BaseModel):
    id: str = Field(pattern=r"^[\w-]{1,64}$")  # it goes into addresses
    name: str = ""
    desiredStatus: str = ""
    costPerHr: Dollars | None = None
    machineId: str | None = None
    publicIp: str | None = None
    portMappings: dict[str, Annotated[int, Field(gt=0, lt=65536)]] | None = None
    lastStatusChange: str | None = None


class Pods(BaseModel):
    pods: list[Pod]


class Stock(BaseModel):
    stockStatus: str | None = None
    uninterruptablePrice: Dollars | None = None


class Card(BaseModel):
    id: str
    displayName: str
    memoryInGb: float
    secureCloud: bool | None = None
    communityCloud: bool | None = None
    securePrice: Dollars | None = None
    communityPrice: Dollars | None = None
    secure: Stock | None = None
    open: Stock | None = None


class Cards(BaseModel):
    gpuTypes: list[Card]


class RunPod:
    name, user = "runpod", "root"

    def __init__(self, key: str):
        self._web = Web(TITLES[self.name], key)
        self._pods = leaving.base(self.name) + "/v1/pods"
        self._graphql = leaving.base(self.name, "https://api.runpod.io") + "/graphql"

    def search(self, wish: Wish) -> list[Offer]:
        answer = self._web.read("POST", self._graphql, json={"query": QUERY})
        if isinstance(answer, dict) and answer.get("errors"):
            raise Conflict(f"RunPod refuses the search: {str(answer['errors'])[:300]}")
        cards = self._web.parse(Cards, answer.get("data") if isinstance(answer, dict) else answer).gpuTypes
        wanted = _plain(wish.gpu)
        found = [card for card in cards if wanted in (_plain(card.displayName), _plain(card.id))]
        if not found:
            names = sorted(card.displayName for card in cards)
            near = did_you_mean(wish.gpu, names) or f" There are {', '.join(names)}."
            raise NotFound(f"RunPod has no card {wish.gpu!r}.{near}", field="gpu")
        offers = [offer for card in found for offer in _offers(card)]
        return sorted(offers, key=lambda offer: offer.price)

    def create(self, offer: Offer, wish: Wish, label: str, public_key: str) -> Machine:
        kind, cloud = offer.id.rsplit("/", 1)
        body: dict[str, Any] = {
            "name": label, "cloudType": cloud, "computeType": "GPU", "gpuTypeIds": [kind], "gpuCount": 1,
            "imageName": wish.image or IMAGE, "containerDiskInGb": wish.disk_gb, "volumeInGb": 0,
            "ports": ["22/tcp"], "supportPublicIp": True, "interruptible": False,
            "env": {"PUBLIC_KEY": public_key, "SSH_PUBLIC_KEY": public_key},
            "dockerStartCmd": ["bash", "-c", start_script(wish.seconds)],
        }  # fmt: skip
        if wish.image is None:
            body["allowedCudaVersions"] = CUDA
        if wish.region:
            body["countryCodes" if len(wish.region) == 2 else "dataCenterIds"] = [wish.region.upper()]
        try:
            return _machine(self._web.parse(Pod, self._web.make("POST", self._pods, body)))
        except (Conflict, Timeout) as error:
            if NONE_LEFT.search(str(error)):  # said with 400 or 500
                raise NotFound(str(error)) from error
            raise

    def get(self, identity: str) -> Machine | None:
        answer = self._web.read("GET", f"{self._pods}/{identity}")
        return None if answer is None else _machine(self._web.parse(Pod, answer))

    def find(self, label: str) -> Machine | None:
        answer = self._web.read("GET", self._pods, params={"name": label})
        pods = self._web.parse(Pods, {"pods": answer or []}).pods
        return next((_machine(pod) for pod in pods if pod.name == label and pod.desiredStatus != "TERMINATED"), None)

    def destroy(self, identity: str) -> None:
        self._web.read("DELETE", f"{self._pods}/{identity}")


def start_script(seconds: int) -> str:
    """What a pod runs: its images' own start, else what RunPod's documentation gives for images without an sshd. Before
    that, a clock that ends the pod from inside even if nobody ever reaches it."""
    pod = "$RUNPOD_POD_ID"
    end = f'curl -fsS -X DELETE -H "Authorization: Bearer $RUNPOD_API_KEY" {leaving.BASES["runpod"]}/v1/pods/{pod}'
    return f"""(sleep {seconds}; {end} || runpodctl remove pod {pod}) >/dev/null 2>&1 &
[ -f /start.sh ] && exec bash /start.sh
apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install -y openssh-server python3 python3-venv
mkdir -p ~/.ssh /run/sshd; chmod 700 ~/.ssh; echo "$PUBLIC_KEY" >> ~/.ssh/authorized_keys
chmod 600 ~/.ssh/authorized_keys; service ssh start; exec sleep infinity"""


def _offers(card: Card) -> list[Offer]:
    found = []
    for cloud, (there, price, stock) in CLOUDS.items():
        left: Stock | None = getattr(card, stock)
        dollars = (left and left.uninterruptablePrice) or getattr(card, price)
        if getattr(card, there) and dollars and left and left.stockStatus:
            note = f"stock: {left.stockStatus.lower()}"
            title = f"{cloud.lower()} cloud"
            found.append(Offer(f"{card.id}/{cloud}", card.displayName, dollars, card.memoryInGb, title, note))
    return found


def _machine(pod: Pod) -> Machine:
    port = (pod.portMappings or {}).get("22")
    stage = "scheduling"
    if pod.desiredStatus in ("EXITED", "TERMINATED"):
        stage = "ended"
    elif pod.publicIp and port:
        stage = "running"
    elif pod.machineId:
        stage = "pulling"
    text = pod.lastStatusChange or "" if stage == "ended" else ""  # before that it only says when it was rented
    return Machine(pod.id, pod.name, stage, text, pod.publicIp or "", port or 22, pod.costPerHr)


def _plain(name: str) -> str:
    """ "RTX 4090" for "NVIDIA GeForce RTX 4090", rtx_4090 and RTX4090 alike: compared, never shown."""
    return re.sub(r"nvidia|geforce|amd|instinct|[\s_-]", "", name.lower())
