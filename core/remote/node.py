"""Makes this machine a node of a Ray cluster until Ctrl-C: python3 -m core.remote.node --head, or HOST:PORT of that.

What follows is for `ray start`: --num-gpus 1, --num-cpus 4, --node-ip-address ..."""

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

from core.ops import bootstrap, environments
from core.ops.bootstrap import ROOT, InstallError

TOKEN = Path.home() / ".ray" / "auth_token"
COMMON = ("--block", "--disable-usage-stats", "--include-log-monitor=false")


def main() -> None:
    bootstrap.ensure([ROOT / "requirements.lock"])
    parser = argparse.ArgumentParser(prog="python3 -m core.remote.node", description=__doc__, allow_abbrev=False)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--head", action="store_true", help="the first node, which the others join")
    where.add_argument("address", nargs="?", metavar="HOST:PORT", help="of the head, to join it")
    parser.add_argument("--envs", type=Path, default=ROOT / ".envs", help="folder of environments [.envs]")
    arguments, rest = parser.parse_known_args()
    try:
        ray = environments.ensure_lock(environments.RAY.with_suffix(".lock"), arguments.envs).with_name("ray")
    except InstallError as error:
        sys.exit(f"stable-core: {error}")
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    if not (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN.exists()):
        if not arguments.head:
            sys.exit(f"stable-core: this cluster has a token. Copy {TOKEN} of the head to the same place here.")
        TOKEN.parent.mkdir(mode=0o700, exist_ok=True)
        subprocess.run([ray, "get-auth-token", "--generate"], capture_output=True, check=True)
        TOKEN.chmod(0o600)
    if arguments.head:
        words = ["--head", "--include-dashboard=false"]
        print(f"Copy to each other machine: {os.environ.get('RAY_AUTH_TOKEN_PATH') or TOKEN}")
        print(f"Then, there: python3 -m core.remote.node {socket.gethostname()}:6379")
    else:
        words = [f"--address={arguments.address}"]
    print("Ctrl-C ends this node. What follows is from Ray, whose own commands are not needed.", flush=True)
    os.execv(ray, [str(ray), "start", *words, *COMMON, *rest])


if __name__ == "__main__":
    main()
