"""Runs on the other machine: receives files, each whole and of the right hash, or not at all.

Standard library only, no syntax newer than Python 3.6. argv: [folder]. It reads frames from stdin, each a line of JSON,
and answers each with a line of JSON:
{"plan": {target: [size, sha256]}, "owned": folders}   -> {"offsets": {target: bytes there}, "free_bytes": n, "mark": m}
{"file": target, "offset": n, "size": n, "sha256": h} and size - offset bytes -> {"done": target} or {"wrong": target}
{"mark": m}                                            -> {"marked": true}
What goes wrong is {"error": text, "errno": n, "free_bytes": n}, and ends it."""

import hashlib
import json
import os
import shutil
import sys

CHUNK = 1 << 20
KEPT = {".venv", ".venv.lock", ".envs"}  # in code/, made there
OURS = {"code", "models", "run", "logs", "cache", "lost+found"}  # the last one on a disk of its own
JOURNAL, MARK = os.path.join("run", "hashes.jsonl"), os.path.join("run", "installed.json")


class Receiver:
    def __init__(self, folder):
        self.folder = os.path.realpath(folder)
        if not os.path.isfile(os.path.join(self.folder, JOURNAL)):  # what is not wanted would be removed
            code = os.path.join(self.folder, "code")
            for place, ours in ((code, KEPT), (self.folder, OURS)):
                others = set(os.listdir(place)) - ours if os.path.isdir(place) else ()
                if others:
                    raise OSError(f"{place} holds {min(others)}, which was not put there by us: choose another folder")
        os.makedirs(os.path.join(self.folder, "run"), mode=0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)

    def path(self, target):
        """Where a file belongs. Raises OSError if a link leads out of the folder on the way there."""
        parts = target.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise OSError(f"{target!r} is no path inside {self.folder}")
        path = os.path.join(self.folder, *parts)
        parent = os.path.realpath(os.path.dirname(path))
        if parent != os.path.dirname(path) and not parent.startswith(self.folder + os.sep):
            raise OSError(f"{path} is a link that leads out of {self.folder}: nothing is written there")
        return path

    def plan(self, message):
        wanted, known, offsets = message["plan"], self.known(), {}
        for place in message["owned"]:
            self.remove_others(place, wanted, known)
        for target, (size, sha256) in wanted.items():
            path = self.path(target)
            about = self.about(path)
            if about and about[0] == size and self.hash_of(target, path, about, known) == sha256:
                continue
            part = self.about(path + ".part")
            offsets[target] = part[0] if part and part[0] <= size else 0
        self.write(
            "run/hashes.jsonl", "".join(json.dumps([name] + known[name]) + "\n" for name in wanted if name in known)
        )
        try:
            with open(os.path.join(self.folder, MARK)) as file:
                mark = json.load(file)
            if not all(os.path.exists(path) for each in mark["plugins"].values() for path in each.values()):
                mark = None
        except (OSError, ValueError, LookupError):
            mark = None
        return {"offsets": offsets, "free_bytes": free(self.folder), "mark": mark}

    def about(self, path):
        """(size, time of change) of a regular file; None of anything else."""
        try:
            stat = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return [stat.st_size, stat.st_mtime_ns] if stat.st_mode & 0o170000 == 0o100000 else None

    def hash_of(self, target, path, about, known):
        if known.get(target, [])[:2] != about:
            with open(path, "rb") as file:
                known[target] = about + [digest(file).hexdigest()]
        return known[target][2]

    def known(self):
        """Hashes of files as they were when these had that size and time. A line that is not whole is left out."""
        found = {}
        try:
            with open(os.path.join(self.folder, JOURNAL)) as file:
                for line in file:
                    try:
                        target, size, changed, sha256 = json.loads(line)
                        found[target] = [size, changed, sha256]
                    except ValueError:
                        continue
        except FileNotFoundError:
            pass
        return found

    def remove_others(self, place, wanted, known):
        """Files that are not wanted, and folders in which nothing is left. Links are removed, never followed. What
        somebody else has put beside models stays."""
        top = os.path.join(self.folder, place)
        keep = set(os.path.join(self.folder, *target.split("/")) for target in wanted)
        keep |= set(path + ".part" for path in keep)
        for folder, folders, names in os.walk(top, topdown=True):
            if folder == top:
                folders[:] = [name for name in folders if name not in KEPT]
                names = [name for name in names if name not in KEPT]
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in [name for name in names if not name.endswith(".pyc")] + links:
                path = os.path.join(folder, name)
                target = os.path.relpath(path, self.folder).replace(os.sep, "/")
                if path not in keep and (place == "code" or target in known or name.endswith(".part")):
                    os.remove(path)
        for folder, _, _ in os.walk(top, topdown=False):
            if folder != top and os.path.basename(folder) != "__pycache__" and not inside(folder, top):
                compiled = os.path.join(folder, "__pycache__")
                if os.listdir(folder) == ["__pycache__"] and not os.path.islink(compiled):
                    shutil.rmtree(compiled)
                if not os.listdir(folder):
                    os.rmdir(folder)

    def file(self, message, source):
        """One file from its bytes. What is there of it stays when the stream ends early."""
        target, offset, size = message["file"], message["offset"], message["size"]
        path = self.path(target)
        part = path + ".part"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(part) or os.path.isdir(path):
            raise OSError(f"{part if os.path.islink(part) else path} is in the way")
        with open(part, "r+b" if offset else "wb") as file:
            found = digest(file, offset)
            file.seek(offset)
            file.truncate()
            left = size - offset
            while left:
                data = source.read(min(CHUNK, left))
                if not data:
                    raise EOFError
                file.write(data)
                found.update(data)
                left -= len(data)
            if size > CHUNK:  # on the disk before it is known to be whole, also if the power fails then
                file.flush()
                os.fsync(file.fileno())
        if found.hexdigest() != message["sha256"]:
            os.remove(part)
            return {"wrong": target}
        os.replace(part, path)
        line = json.dumps([target] + self.about(path) + [message["sha256"]]) + "\n"
        journal = os.open(os.path.join(self.folder, JOURNAL), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(journal, line.encode())  # in one piece, as others append to it at the same time
        finally:
            os.close(journal)
        return {"done": target}

    def mark(self, message):
        self.write(MARK, json.dumps(message["mark"]))
        return {"marked": True}

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        new = f"{path}.{os.getpid()}"
        with open(new, "w") as file:
            file.write(text)
        os.replace(new, path)


def inside(folder, top):
    """Whether it is in one of the folders that are made there."""
    return os.path.relpath(folder, top).split(os.sep)[0] in KEPT


def digest(file, size=None):
    """The hash of its first `size` bytes, or of all."""
    found = hashlib.sha256()
    left = size
    while left is None or left:
        data = file.read(CHUNK if left is None else min(CHUNK, left))
        if not data:
            break
        found.update(data)
        left = None if left is None else left - len(data)
    return found


def free(folder):
    return shutil.disk_usage(folder).free


def main():
    source = sys.stdin.buffer
    answer = lambda body: (sys.stdout.write(json.dumps(body) + "\n"), sys.stdout.flush())  # noqa: E731
    try:
        receiver = Receiver(sys.argv[1])
        while True:
            line = source.readline()
            if not line.endswith(b"\n"):
                return
            message = json.loads(line.decode())
            if "plan" in message:
                answer(receiver.plan(message))
            elif "file" in message:
                answer(receiver.file(message, source))
            else:
                answer(receiver.mark(message))
    except EOFError:
        return
    except OSError as error:
        folder = os.path.dirname(os.path.abspath(sys.argv[1]))
        room = free(folder) if os.path.isdir(folder) else None
        answer({"error": str(error), "errno": error.errno, "free_bytes": room})


main()
