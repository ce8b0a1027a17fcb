"""Machines that are there already, from the terminal: deploy list, status, logs, start, stop, trust and destroy."""

import argparse
import asyncio
import json
import shlex
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

from core.errors import Conflict, CoreError, Forbidden
from core.ops.bootstrap import size
from core.ops.config import Config
from core.ops.discovery import printable
from core.remote import rental, spending, words
from core.remote.connection import fingerprint, own_key, revoke, run, shown_key, started
from core.remote.deploying import connected, login_for, server_runs
from core.remote.records import Records, Remote, State
from core.remote.showing import ago, state_of

Actions = "argparse._SubParsersAction[argparse.ArgumentParser]"
REMOVE = '''cd -- "$0" 2>/dev/null || exit 0
for each in $(ls -A); do case $each in
code|models|run|logs|cache) ;; *) echo "it also holds $each" >&2; exit 1 ;; esac; done
[ -d run ] || { echo "nothing was deployed to it" >&2; exit 1; }
here=$(pwd -P) && cd / && rm -rf -- "$here"'''
REMOVE_SECONDS = 600
LET_GO_SECONDS = 10
CONNECT_SECONDS = 120  # that a server which runs may take until it is connected, too


def add_all(actions: Actions) -> None:
    for add in (add_list, add_status, add_logs, add_start, add_stop, add_trust, add_destroy):
        add(actions)


def add_list(actions: Actions) -> None:
    action = actions.add_parser("list", help="all machines and how they are", allow_abbrev=False)
    action.add_argument("--json", action="store_true", help="as JSON")
    action.set_defaults(run=list_)


def list_(arguments: argparse.Namespace, config: Config) -> int:
    records, runs = Records(config.data), server_runs(config)
    found, broken = [], []
    for name in records.names():
        try:
            found.append((records.read(name), records.state(name)))
        except CoreError as error:
            broken.append(error)
    for error in broken:
        print(printable(f"stable-core: {error} {error.extra.get('hint')}"), file=sys.stderr)
    if arguments.json:
        print(json.dumps([_json(record, state, runs) for record, state in found], indent=1))
        return int(bool(broken))
    for record, state in found:
        price = f"  ${record.rented.price_per_hour:.2f}/h" if record.rented else ""
        plugins = ",".join(record.plugins)
        where = f"{record.user}@{record.host}:{record.port}"
        print(f"{record.name:<12} {state_of(record, state, runs):<12} {where:<30} {plugins}{price}")
    if not found and not broken:
        print("No machines. Next: python3 server.py deploy ssh://user@host:port")
    return int(bool(broken))


def _json(record: Remote, state: State, runs: bool) -> dict[str, Any]:
    told = json.loads(state.model_dump_json()) | {"state": state_of(record, state, runs)}
    return {"record": json.loads(record.model_dump_json()), "state": told}


def add_named(actions: Actions, name: str, run: Callable[..., Any], text: str) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    action.add_argument("name", metavar="NAME", help="as deploy list shows it")
    action.set_defaults(run=run)
    return action


def add_status(actions: Actions) -> None:
    action = add_named(actions, "status", status, "everything known of a machine")
    action.add_argument("--json", action="store_true", help="as JSON")


def status(arguments: argparse.Namespace, config: Config) -> int:
    records, runs = Records(config.data), server_runs(config)
    record, state = records.read(arguments.name), records.state(arguments.name)
    if arguments.json:
        print(json.dumps(_json(record, state, runs), indent=1))
        return 0
    lines = {
        "machine": f"{record.name}  {record.user}@{record.host}:{record.port}",
        "state": state_of(record, state, runs) + (f", {ago(state.since)}" if state.since else ""),
        "step": state.step,
        "error": " ".join(filter(None, [(state.error or {}).get("message"), (state.error or {}).get("hint")])),
        "heard of": ago(state.seen) if state.seen else "never",
        "host key": fingerprint(record.host_key) if record.host_key else "not known yet",
        "folder": record.folder,
        "plugins": ", ".join(record.plugins),
        "models": ", ".join(record.models) or "those that plugins bring",
        "rule": words.rule(record.rule.model_dump()),
        "idle stop": f"after {record.idle_minutes:g} min" if record.idle_minutes else "never",
    }
    if record.rented:
        cost = words.cost(record.rented.model_dump(), spending.spent(record.rented))
        lines["rented"] = f"{record.rented.id}, {cost}"
    for word, text in lines.items():
        if text:
            print(f"{word:<9} {printable(' '.join(text.split()))}")
    for device, about in state.devices.items():
        free, total = about.get("free_bytes"), about.get("total_bytes")
        room = f"  {size(free)} of {size(total)} free" if free is not None and total else ""
        print(printable(f"device    {record.name}/{device}  {about.get('title') or ''}{room}"))
    for worker in state.workers:
        print(printable(f"worker    {worker.get('plugin')} on {worker.get('device')}, pid {worker.get('pid')} there"))
    return 0


def add_logs(actions: Actions) -> None:
    action = add_named(actions, "logs", logs, "what the connection here and the workers there have logged")
    action.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    action.add_argument("--lines", type=int, default=50, help="of each log; default: 50")


def logs(arguments: argparse.Namespace, config: Config) -> int:
    records = Records(config.data)
    record = records.read(arguments.name)
    path = config.data / "logs" / f"remote-{record.name}.log"
    if path.exists():
        print(f"==> {path} <==")
        lines = path.read_text("utf-8", "replace").splitlines()
        print("\n".join(printable(line.expandtabs()) for line in lines[-arguments.lines :]), flush=True)
    if record.folder:
        asyncio.run(_logs_there(record, records, arguments))
    return 0


async def _logs_there(record: Remote, records: Records, arguments: argparse.Namespace) -> None:
    follow = "-F" if arguments.follow else ""
    script = f'cd "$0/logs" 2>/dev/null && ls | grep -q . && exec tail -n {int(arguments.lines)} {follow} -- *'
    async with connected(record, login_for(), None, records) as connection:
        command = shlex.join(["sh", "-c", script, record.folder])
        async with started(connection, command, stdin=asyncssh.DEVNULL, errors="replace") as process:
            async for line in process.stdout:
                print(printable(line.rstrip().expandtabs()), flush=True)


def add_start(actions: Actions) -> None:
    add_named(actions, "start", start, "use a machine that was stopped")


def start(arguments: argparse.Namespace, config: Config) -> int:
    records = Records(config.data)
    record = records.read(arguments.name)
    spending.check_there(record)
    if not record.folder:
        hint = f"python3 server.py deploy {record.user}@{record.host}:{record.port}"
        raise Conflict(f"{record.name} is not deployed to the end.", hint=hint)
    records.write(record.model_copy(update={"on": True}))
    print(f"start     {record.name}")
    return wait_until_connected(record.name, config)


def add_stop(actions: Actions) -> None:
    add_named(actions, "stop", stop, "end its workers and use it no more; what is there stays")


def stop(arguments: argparse.Namespace, config: Config) -> int:
    records = Records(config.data)
    record = records.read(arguments.name)
    records.write(record.model_copy(update={"on": False}))
    print(f"stop      {record.name}; its jobs go back to the queue")
    if record.folder:
        try:
            asyncio.run(_with(record, records, end_host))
        except CoreError as error:
            idle = f"It stops itself after {record.idle_minutes:g} min without jobs." if record.idle_minutes else ""
            error.extra["hint"] = f"It is not used any more, but its workers may still run. {idle}".strip()
            raise
        print("ended     its workers")
    if record.rented:
        print(f"It is still rented, and costs money: python3 server.py deploy destroy {record.name}", file=sys.stderr)
    return 0


async def _with(record: Remote, records: Records, act: Callable[..., Awaitable[None]]) -> None:
    async with connected(record, login_for(), None, records) as connection:
        await act(connection, record)


async def end_host(connection: asyncssh.SSHClientConnection, record: Remote) -> None:
    """The supervisor there and its workers, if there are any."""
    words = [f"{record.folder}/code/.venv/bin/python", "-m", "core.remote.host", record.folder]
    script = 'cd "$0/code" 2>/dev/null && [ -x "$1" ] && exec "$@"'
    request = json.dumps({"id": 1, "do": "stop"}) + "\n"
    await run(connection, ["sh", "-c", script, record.folder, *words], request)


def add_trust(actions: Actions) -> None:
    action = add_named(actions, "trust", trust, "accept that a machine has another host key than before")
    action.add_argument("--host-key", metavar="SHA256:...", help="fingerprint that it must have")
    action.add_argument("--yes", action="store_true", help="do not ask")


def trust(arguments: argparse.Namespace, config: Config) -> int:
    records = Records(config.data)
    record = records.read(arguments.name)
    new = asyncio.run(shown_key(record))
    if arguments.host_key not in (None, fingerprint(new)):
        raise Forbidden(f"{record.name} shows {fingerprint(new)}, not {arguments.host_key}: nothing was changed.")
    if new == record.host_key:
        print(f"same key  {fingerprint(new)}")
        return 0
    if record.host_key:
        print(f"before    {fingerprint(record.host_key)}")
    print(f"now       {fingerprint(new)}")
    if not arguments.host_key:
        confirm("Trust the new one? Only if you know why it is another one.", arguments.yes)
    records.write(record.model_copy(update={"host_key": new}))
    print(f"trust     {record.name}")
    return 0


def confirm(question: str, yes: bool) -> None:
    """Raises Conflict unless somebody says yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Conflict("nobody was there to be asked.", hint="--yes agrees beforehand.")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Conflict("as you said no, nothing was changed.")


def add_destroy(actions: Actions) -> None:
    text = "remove everything from a machine, end it if it is rented, and forget it"
    action = add_named(actions, "destroy", destroy, text)
    action.add_argument("--yes", action="store_true", help="do not ask")
    action.add_argument("--forget", action="store_true", help="only here, as it cannot be reached any more")


def destroy(arguments: argparse.Namespace, config: Config) -> int:
    records = Records(config.data)
    try:
        record = records.read(arguments.name)
    except Conflict:  # it makes no sense; one that is rented is ended by whoever looks after the ledger
        if not arguments.forget:
            raise
        confirm(f"Forget {arguments.name}, whose record cannot be read?", arguments.yes)
        return _forget(arguments.name, records)
    what = "end it for good" if record.rented else f"remove {record.folder or 'our key'} there"
    confirm(f"Destroy {record.name} ({record.user}@{record.host}:{record.port}): {what}?", arguments.yes)
    records.write(record.model_copy(update={"on": False}))
    if record.rented:
        rental.end(config.data, record)
        print(f"ended     {record.rented.provider} {record.rented.id}")
    elif not arguments.forget:
        try:
            asyncio.run(_with(record, records, lambda *given: clear(*given, records)))
        except CoreError as error:
            error.extra["hint"] = f"{error.extra.get('hint') or ''} To forget it here only: --forget".strip()
            raise
        print(f"removed   {record.folder or 'our key'} there")
    _wait_until_let_go(record.name, config)
    return _forget(record.name, records)


def _forget(name: str, records: Records) -> int:
    shutil.rmtree(records.of(name), ignore_errors=True)
    print(f"forgot    {name}")
    return 0


def _wait_until_let_go(name: str, config: Config) -> None:
    """By the process that keeps the connection: it would write its state once more."""
    records, until = Records(config.data), time.time() + LET_GO_SECONDS
    while server_runs(config) and records.state(name).state != "off" and time.time() < until:
        time.sleep(0.1)


async def clear(connection: asyncssh.SSHClientConnection, record: Remote, records: Records) -> None:
    """End what runs there, remove the folder if all in it is ours, and take our key back."""
    if record.folder:
        await end_host(connection, record)
    place = record.folder or f".stable-core/{record.name}"  # in the home there, if it was not deployed to the end
    done = await run(connection, ["sh", "-c", REMOVE, place], seconds=REMOVE_SECONDS)
    if done.exit_status:
        text = f"{place} could not be removed there: {done.stderr.strip()[-300:]}."
        raise Conflict(text, hint="Remove it by hand, and here with --forget.")
    folder = records.of(record.name)
    if (folder / "key").is_file():
        await revoke(connection, own_key(folder, record.name))


def wait_until_connected(name: str, config: Config) -> int:
    """Show what the server that runs does with it; 0 if all is well."""
    if not server_runs(config):
        print("Next: python3 server.py; it connects by itself.")
        return 0
    records, until, told = Records(config.data), time.time() + CONNECT_SECONDS, ""
    begun = time.time()
    while time.time() < until:
        state = records.state(name)
        if state.state == "connected" and state.seen >= begun - 1:
            print(f"connected {name}: {', '.join(state.devices) or 'its devices are still to come'}")
            return 0
        if state.state == "failed" and state.since >= begun:
            raise Conflict(f"the server cannot use it: {(state.error or {}).get('message')}")
        if state.step and state.step != told:
            told = state.step
            print(f"          {printable(' '.join(told.split()))}")
        time.sleep(0.1)
    print(f"stable-core: it is not connected yet. See: python3 server.py deploy status {name}", file=sys.stderr)
    return 1
