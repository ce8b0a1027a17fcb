"""Doubles of RunPod's and vast.ai's APIs as they are documented: real HTTP servers, whose machines are an sshd of ours.

They take only documented fields, and answer in the documented form with more fields than we read. What goes wrong is
asked for with `fail`. Where the forms are from is said in core/remote/providers."""

import contextlib
import http.server
import itertools
import json
import re
import socket
import threading
import urllib.parse

KEYS = {"runpod": "rpa_SECRET0RUNPOD", "vast": "5ec2e7fa57"}
POD_FIELDS = {
    "allowedCudaVersions", "cloudType", "computeType", "containerDiskInGb", "containerRegistryAuthId", "countryCodes",
    "cpuFlavorIds", "cpuFlavorPriority", "dataCenterIds", "dataCenterPriority", "dockerEntrypoint", "dockerStartCmd",
    "env", "globalNetworking", "gpuCount", "gpuTypeIds", "gpuTypePriority", "imageName", "interruptible", "locked",
    "minDiskBandwidthMBps", "minDownloadMbps", "minRAMPerGPU", "minUploadMbps", "minVCPUPerGPU", "name",
    "networkVolumeId", "ports", "supportPublicIp", "templateId", "vcpuCount", "volumeInGb", "volumeMountPath",
}  # fmt: skip
ASK_FIELDS = {
    "client_id", "image", "template_hash_id", "label", "disk", "target_reliability", "runtype", "target_state", "price",
    "env", "cancel_unavail", "vm", "onstart", "args", "args_str", "use_jupyter_lab", "jupyter_dir", "python_utf8",
    "lang_utf8", "force", "user", "image_login", "volume_info",
}  # fmt: skip
LIFE = ["scheduling", "pulling", "running"]  # one step for each look at it


class Double:
    """`machines` by id, each {"id", "label", "life", "price", "body"}; `said` has (method, path) of all that was asked.
    `price` is what it offers, `dearer` what a machine costs more once it is there."""

    name = ""

    def __init__(self, address):
        self.address = address
        self.machines, self.said, self.faults, self.ids = {}, [], [], itertools.count(4711)
        self.price, self.dearer, self.life, self.gone = 0.44, 0.0, LIFE, []
        self.lock = threading.Lock()

    def fail(self, method, path, status, body=b"", times=1, after=False, headers=None):
        """The next `times` requests like this get that answer (status 0: the connection is closed); with `after`, once
        they have been carried out."""
        self.faults.append({
            "method": method, "path": path, "status": status, "body": body, "times": times, "after": after,
            "headers": headers or {},
        })  # fmt: skip

    def handle(self, method, path, query, body, key):
        with self.lock:
            self.said.append((method, path))
            fault = self._fault(method, path)
            if fault and not fault["after"]:
                return fault["status"], fault["body"], fault["headers"]
            answer = self.refuse_key() if key != KEYS[self.name] else self.answer(method, path, query, body)
            if fault:
                return fault["status"], fault["body"], fault["headers"]
            return *answer, {}

    def _fault(self, method, path):
        for fault in self.faults:
            if fault["times"] and fault["method"] == method and re.search(fault["path"], path):
                fault["times"] -= 1
                return fault
        return None

    def make(self, label, body):
        identity = self.new_id()
        made = {"id": identity, "label": label, "life": list(self.life), "price": self.price + self.dearer}
        self.machines[identity] = made | {"body": body}
        return self.machines[identity]

    def there(self, identity):
        """The machine; one whose life comes to "gone" is ended by somebody else before it is looked at."""
        if self.machines.get(identity, {"life": [""]})["life"][0] == "gone":
            self.end(identity)
        return self.machines.get(identity)

    def stage(self, machine, look=True):
        life = machine["life"]
        return life.pop(0) if look and len(life) > 1 else life[0]

    def end(self, identity):
        self.gone.append(identity)
        return self.machines.pop(identity, None)


class RunPodDouble(Double):
    name = "runpod"

    def new_id(self):
        return f"pod{next(self.ids)}xyz"

    def refuse_key(self):
        return 401, {"error": "unauthorized", "status": 401}

    def answer(self, method, path, query, body):
        if (method, path) == ("POST", "/graphql"):
            assert "gpuTypes" in body["query"]
            return 200, {"data": {"gpuTypes": self.cards()}}
        if (method, path) == ("POST", "/v1/pods"):
            assert body.keys() <= POD_FIELDS, body.keys() - POD_FIELDS
            assert body["cloudType"] in ("SECURE", "COMMUNITY") and len(body["name"]) <= 191
            return 201, self.pod(self.make(body["name"], body), look=False)
        if (method, path) == ("GET", "/v1/pods"):
            found = [each for each in self.machines.values() if each["label"] == query.get("name", each["label"])]
            return 200, [self.pod(each, look=False) for each in found]
        identity = path.removeprefix("/v1/pods/")
        if not self.there(identity):
            return 404, {"error": "pod not found", "status": 404}
        if method == "DELETE":
            self.end(identity)
            return 204, b""
        return 200, self.pod(self.machines[identity])

    def cards(self):
        names = [("NVIDIA GeForce RTX 4090", "RTX 4090", 24), ("NVIDIA GeForce RTX 3090", "RTX 3090", 24)]
        left = {"minimumBidPrice": 0.2, "uninterruptablePrice": self.price, "stockStatus": "High"}
        return [
            {
                "id": card, "displayName": name, "memoryInGb": memory, "secureCloud": True, "communityCloud": True,
                "securePrice": self.price + 0.25, "communityPrice": self.price, "maxGpuCount": 8, "open": left,
                "secure": left | {"uninterruptablePrice": self.price + 0.25, "stockStatus": "Low"},
            }
            for card, name, memory in names
        ]  # fmt: skip

    def pod(self, machine, look=True):
        stage = self.stage(machine, look)
        running, body = stage == "running", machine["body"]
        return {
            "id": machine["id"], "name": machine["label"], "costPerHr": str(machine["price"]), "adjustedCostPerHr": 0.4,
            "desiredStatus": "EXITED" if stage == "exited" else "RUNNING", "image": body["imageName"],
            "machineId": None if stage == "scheduling" else "s194cr8pls2z", "env": body["env"], "gpu": {"count": 1},
            "publicIp": self.address[0] if running else "", "ports": ["22/tcp"], "interruptible": False,
            "portMappings": {"22": self.address[1]} if running else None, "locked": False,
            "lastStatusChange": "Rented by User: Fri Jul 12 2024 15:14:40 GMT-0400 (Eastern Daylight Time)",
        }  # fmt: skip


class VastDouble(Double):
    name = "vast"

    def new_id(self):
        return str(next(self.ids))

    def refuse_key(self):
        return 401, {"success": False, "error": "auth_error", "msg": "Invalid user key"}

    def answer(self, method, path, query, body):
        if (method, path) == ("POST", "/api/v0/bundles/"):
            assert all(set(each) <= {"eq", "gte", "in"} for each in body.values() if isinstance(each, dict))
            known = "RTX 4090" in body["gpu_name"]["in"]
            return 200, {"offers": [self.offer(number) for number in (1, 2)] if known else [], "truncated": False}
        if method == "PUT" and path.startswith("/api/v0/asks/"):
            assert body.keys() <= ASK_FIELDS, body.keys() - ASK_FIELDS
            assert body["disk"] >= 8 and len(body["label"]) <= 256 and len(body["onstart"]) <= 4048
            made = self.make(body["label"], body)
            return 200, {"success": True, "new_contract": int(made["id"])}
        if (method, path) == ("GET", "/api/v1/instances/"):
            label = json.loads(query["select_filters"])["label"]["eq"]
            found = [self.instance(each, look=False) for each in self.machines.values() if each["label"] == label]
            return 200, {"success": True, "instances_found": len(found), "next_token": None, "instances": found}
        identity = path.removeprefix("/api/v0/instances/").split("/")[0]
        if method == "POST" and path.endswith("/ssh/"):
            self.machines[identity]["key"] = body["ssh_key"]
            return 200, {"success": True, "msg": "SSH key attached successfully"}
        if method == "DELETE":
            if self.end(identity):
                return 200, {"success": True}
            return 404, {"success": False, "error": "no_such_instance", "msg": f"error 404: Instance {identity}"}
        machine = self.there(identity)
        return 200, {"instances": machine and self.instance(machine)}

    def offer(self, number):
        return {
            "id": 1000 + number, "gpu_name": "RTX 4090", "gpu_ram": 24564,
            "dph_total": self.price + number / 100 - 0.01, "geolocation": "Washington, US", "reliability": 0.9993661,
            "inet_down": 812.4, "num_gpus": 1, "verification": "verified", "rentable": True, "bundled_results": None,
            "cuda_max_good": 12.8,
        }  # fmt: skip

    def instance(self, machine, look=True):
        stage = self.stage(machine, look)
        status = {"scheduling": None, "pulling": "loading"}.get(stage, stage)
        running = stage == "running"
        ports = {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(self.address[1])}]} if running else None
        return {
            "id": int(machine["id"]), "label": machine["label"], "actual_status": status, "ports": ports,
            "intended_status": "running", "cur_state": "running", "image_runtype": "ssh ssh_direc ssh_proxy",
            "status_msg": "success, running vastai/base-image_@vastai-automatic-tag/ssh" if running else None,
            "public_ipaddr": f"{self.address[0]}\n", "ssh_host": "ssh123.vast.ai", "ssh_port": 10600,
            "dph_total": machine["price"], "extra_env": [], "gpu_name": "RTX 4090", "uptime_mins": None,
        }  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def carry_out(self):
        split = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, said, headers = self.server.double.handle(
            self.command, split.path, dict(urllib.parse.parse_qsl(split.query)), json.loads(body or b"{}"),
            self.headers.get("Authorization", "").removeprefix("Bearer "),
        )  # fmt: skip
        if status == 0:
            self.close_connection = True
            return
        said = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_DELETE = carry_out

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def double(name, address):
    """A provider's API whose machines are all reached at `address`; `url` is where it is."""
    made = {"runpod": RunPodDouble, "vast": VastDouble}[name](address)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.double = True, made
        made.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        server.shutdown()


@contextlib.contextmanager
def sshd(says=b"SSH-2.0-OpenSSH_9.2\r\n"):
    """The address of something that says what an sshd says first, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[:2]
        listening.shutdown(socket.SHUT_RDWR)
