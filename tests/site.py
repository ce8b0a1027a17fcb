"""A web server and a hub for tests: real sockets, with models to fetch, lines that break, and errors."""

import contextlib
import hashlib
import http.server
import json
import re
import threading
import time

DATA = bytes(range(256)) * 4096 * 4  # 4 MiB
SHA = hashlib.sha256(DATA).hexdigest()
COMMIT = "c" * 40
ART = """from core.plugin import *
class Art(Plugin):
    @job()
    def draw(self) -> Text:
        return "art"
"""


@contextlib.contextmanager
def site():
    """`files` by path, each (status, bytes); `said` has what was asked for. After `break_after` bytes the line breaks,
    each time."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        server.daemon_threads = True
        server.files, server.said, server.etag, server.resumes = {"/a.safetensors": (200, DATA)}, [], '"1"', True
        server.break_after, server.seconds_a_block, server.kind = 1 << 30, 0, "application/octet-stream"
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.server.said.append((self.command, self.path, self.headers))
        listed = re.fullmatch(r"/api/models/(\w+/\w+)/revision/(\w+)(\?.*)?", self.path)
        if listed:
            return self.answer_list(listed[1])
        hub = re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/(.+)", self.path)
        if hub:
            return self.answer_as_hub(*hub.groups(), body)
        code, data = self.server.files.get(self.path.partition("?")[0], (404, b"not there"))
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        etag, tag = self.server.etag, self.headers.get("If-Range")
        first = int(start[1]) if start and code == 200 and self.server.resumes and tag in (None, etag) else 0
        self.send_response(206 if first else code)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        with contextlib.suppress(OSError):
            for at in range(first, min(len(data), first + self.server.break_after) if body else 0, 1 << 16):
                self.wfile.write(data[at : at + (1 << 16)])
                if self.server.seconds_a_block:
                    time.sleep(self.server.seconds_a_block)
            if body and first + self.server.break_after < len(data):
                self.connection.close()
                self.close_connection = True

    def answer_as_hub(self, repo, revision, file, body):
        code, data = self.server.files.get(f"/{repo}/{file}", (404, b""))
        errors = {403: "GatedRepo", 401: "RepoNotFound", 404: "EntryNotFound"}
        self.send_response(302 if code == 200 else code)
        if code in errors:
            self.send_header("X-Error-Code", errors[code])
        if code == 200:  # large files are elsewhere
            self.send_header("Location", f"http://localhost:{self.server.server_port}/{repo}/{file}?signed")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_list(self, repo):
        """As the hub lists a commit: large files by their sha256, small ones by git's hash."""
        files = []
        for path, (_, data) in self.server.files.items():
            if path.startswith(f"/{repo}/"):
                file = {"rfilename": path.removeprefix(f"/{repo}/"), "size": len(data)}
                file["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
                files.append(file | ({"lfs": lfs} if len(data) > 1000 else {}))
        body = json.dumps({"id": repo, "sha": COMMIT, "siblings": files}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def plugin(url, **more):
    """Writes, into a server's folder, a plugin that names a model of this address."""
    values = {"kind": "lora", "name": "a.safetensors", "url": f"{url}/a.safetensors", "sha256": SHA}
    values |= {"size_bytes": len(DATA), "licence": "MIT"} | more
    table = "\n[[models]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())

    def write(folder):
        (folder / "plugins" / "art").mkdir(parents=True)
        (folder / "plugins" / "art" / "plugin.toml").write_text(f'name = "art"\nversion = "1"\napi = 1\n{table}')
        (folder / "plugins" / "art" / "__init__.py").write_text(ART)

    return write
