"""On the other machine: keeps the worker processes there, whether or not somebody is connected, and ends in time.

`python -m core.remote.host FOLDER` speaks lines of JSON over its stdin and stdout with the supervisor of that folder,
which it starts if there is none. The supervisor listens on a Unix socket in FOLDER/run.

A request is {"id": 1, "do": "status"}, with what else `do` needs; its answer is {"id": 1, "ok": true, ...} or
{"id": 1, "ok": false, "error": {...}}, an error as clients get them. What nobody asked for has no id:
{"event": "ended", "worker": {...}}: a worker has ended by itself, and
{"event": "stopping", "why": "idle" | "spent" | "stop" | "taken"}: the supervisor ends.

| do | more | answer |
|---|---|---|
| hello | server: who asks (an id of its own; the workers of another one are ended); devices: as in the settings; ending: {idle_minutes, seconds_left (or null), command (or null: what ends the machine itself)}; wake: false if a supervisor that had ended by itself is to stay away; code: Ready.code, told in later answers | what `status` answers; sockets: a private folder with a short path, for what sshd listens on; door: the path that workers are to dial |
| door | path, or port on 127.0.0.1 | |
| start | plugin, device, python, settings (of core.worker) | worker |
| end | plugin, device | worker, or null |
| status | | host: an id of this supervisor, pid, boot: an id of this run of the machine; code; workers; devices: by name {title, free_bytes, total_bytes}; disk: {free_bytes, total_bytes}; idle_seconds; logs: bytes, by name |
| busy | | idle_seconds: 0 |
| logs | name (as `status` tells; "host" is the supervisor's own), at: byte to begin with, negative from the end | text, next: byte to go on with |
| stop | | stopping: its workers end, then it does |

A worker is {plugin, device, pid, since, exit_code (null: it runs), last: the last line of its log}.
"""  # noqa: E501

import sys


def main() -> None:
    raise NotImplementedError


if __name__ == "__main__":
    sys.exit(main())
