"""Ends a rented machine from inside: python -m core.remote.leaving PROVIDER ID, run there. Needs only Python itself.

Both providers give each machine a key of its own, in the environment of its first process: RUNPOD_API_KEY
(docs.runpod.io/pods/templates/environment-variables) and CONTAINER_API_KEY
(docs.vast.ai/guides/instances/docker-environment). So the key of our user's account never gets there."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

BASES = {"runpod": "https://rest.runpod.io", "vast": "https://console.vast.ai"}
PATHS = {"runpod": "/v1/pods/{}", "vast": "/api/v0/instances/{}/"}
KEYS = {"runpod": "RUNPOD_API_KEY", "vast": "CONTAINER_API_KEY"}
COMMANDS = {"runpod": ["runpodctl", "remove", "pod"], "vast": ["vastai", "destroy", "instance"]}
TRIES, PAUSE_SECONDS, ANSWER_SECONDS = 3, 20, 30  # the host begins again if this fails
GONE = (200, 202, 204, 404, 410)


def base(provider: str, real: str | None = None) -> str:
    """The address of a provider's API. For tests the variable STABLE_CORE_TEST_RUNPOD_URL or STABLE_CORE_TEST_VAST_URL
    names another one, on this machine only: nobody's key can be led elsewhere by it."""
    double = os.environ.get(f"STABLE_CORE_TEST_{provider.upper()}_URL", "")
    return double if double.startswith("http://127.0.0.1:") else real or BASES[provider]


def environment(first: Path = Path("/proc/1/environ")) -> dict[str, str]:
    """That of the container: a session over SSH has none of it."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):  # another user's, or no Linux
        words = first.read_bytes().decode("utf-8", "replace").split("\0")
        found = dict(word.split("=", 1) for word in words if "=" in word)
    return found | dict(os.environ)


def leave(provider: str, identity: str) -> bool:
    """Once; whether the provider says that the machine ends. Mostly there is nobody left to read that."""
    around = environment()
    url = base(provider) + PATHS[provider].format(identity)
    headers = {"Authorization": f"Bearer {around.get(KEYS[provider], '')}"}
    try:
        request = urllib.request.Request(url, method="DELETE", headers=headers)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            if answer.status in GONE:
                return True
    except urllib.error.HTTPError as error:
        if error.code in GONE:
            return True
        print(f"{provider} answers {error.code} {error.reason}.", flush=True)
    except (OSError, ValueError) as error:  # a key with strange characters is one of the latter
        print(f"{provider} cannot be asked: {error}.", flush=True)
    command = [*COMMANDS[provider], identity]  # the provider's own, which its images have
    try:
        return not subprocess.run(command, timeout=ANSWER_SECONDS, env=around, stdin=subprocess.DEVNULL).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{command[0]}: {error}", flush=True)
        return False


def main(provider: str, identity: str) -> int:
    for number in range(TRIES):
        time.sleep(PAUSE_SECONDS if number else 0)
        if leave(provider, identity):
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
