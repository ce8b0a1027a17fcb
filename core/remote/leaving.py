"""Ends a rented machine from inside: python -m core.remote.leaving PROVIDER ID, run there. Needs only Python itself.

Both providers give each machine a key that may end that machine alone, in the environment of its first process:
RUNPOD_API_KEY (docs.runpod.io/pods/templates/environment-variables) and CONTAINER_API_KEY
(docs.vast.ai/guides/instances/docker-environment). So our user's own key never gets there."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PLACES = {
    "runpod": ("https://rest.runpod.io/v1/pods/{}", "RUNPOD_API_KEY", ["runpodctl", "remove", "pod"]),
    "vast": ("https://console.vast.ai/api/v0/instances/{}/", "CONTAINER_API_KEY", ["vastai", "destroy", "instance"]),
}
TRIES, PAUSE_SECONDS, ANSWER_SECONDS = 60, 60, 30
GONE = (200, 202, 204, 404, 410)


def environment(first: Path = Path("/proc/1/environ")) -> dict[str, str]:
    """That of the container: a session over SSH has none of it."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):  # another user's, or no Linux
        words = first.read_bytes().decode("utf-8", "replace").split("\0")
        found = dict(word.split("=", 1) for word in words if "=" in word)
    return found | dict(os.environ)


def leave(provider: str, identity: str, places: dict[str, tuple[str, str, list[str]]] = PLACES) -> bool:
    """Once; whether the provider says that the machine ends. Mostly there is nobody left to read that."""
    url, variable, command = places[provider]
    key = environment().get(variable, "")
    request = urllib.request.Request(url.format(identity), method="DELETE", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            if answer.status in GONE:
                return True
    except urllib.error.HTTPError as error:
        if error.code in GONE:
            return True
        print(f"{provider} answers {error.code} {error.reason}.", flush=True)
    except OSError as error:
        print(f"{provider} cannot be reached: {error}.", flush=True)
    try:  # the provider's own command, which its images have
        ended = subprocess.run(
            [*command, identity], timeout=ANSWER_SECONDS, env=environment(), stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{command[0]}: {error}", flush=True)
        return False
    return ended.returncode == 0


def main(provider: str, identity: str) -> int:
    for number in range(TRIES):
        time.sleep(PAUSE_SECONDS if number else 0)
        if leave(provider, identity):
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
