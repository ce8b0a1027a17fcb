"""Runs `server.py plugins` commands and kills them (kill -9) before a step that is asked for: `python -m tests.dying`.

A step is whatever changes files or starts a process. Each line of stdin is a list: [words, step], where the step is a
number, a part of its description, or null; the answer has the exit code and the steps that were begun. Each command
runs in a fork, so what it imports is there already."""

import json
import os
import re
import signal
import sys

from core.ops import conformance  # noqa: F401, imported before the forks
from core.ops.conformance import checking  # noqa: F401
from core.ops.packages import command

CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree", "subprocess.Popen")


def run(words, last, log):
    steps = 0

    def count(event, values):
        nonlocal steps
        writes = event == "open" and isinstance(values[0], str) and values[2] & (os.O_WRONLY | os.O_RDWR)
        if not writes and event not in CHANGES:
            return
        about = str(values[1] if event == "subprocess.Popen" else values[0])
        if steps == last or (isinstance(last, str) and re.search(last, f"{event} {about}")):
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        os.write(log, json.dumps([event, about]).encode() + b"\n")

    sys.addaudithook(count)
    code = command.main(words)
    sys.stdout.flush()
    os._exit(code)


def main():
    for line in sys.stdin:
        words, last = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.dup2(2, 1)
            run(words, last, writing)
        os.close(writing)
        with os.fdopen(reading) as log:
            steps = [json.loads(step) for step in log]
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, steps]), flush=True)


if __name__ == "__main__":
    main()
