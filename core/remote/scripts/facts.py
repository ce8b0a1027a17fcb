"""Runs on the other machine, under whatever Python there is: prints what kind of machine it is, as one line of JSON.

Standard library only, no syntax newer than Python 3.6, and nothing is changed. argv: [folder]."""

import csv
import ctypes
import glob
import json
import os
import platform
import shutil
import subprocess
import sys
import time

NAMES = ["python3", "python"] + [f"python3.{minor}" for minor in range(20, 9, -1)]
PLACES = ["~/.local/bin", "/usr/local/bin", "/usr/bin", "/opt/conda/bin", "/venv/main/bin", "/opt/homebrew/bin"]
PLACES += ["~/*conda*/bin", "~/miniforge3/bin", "~/.pyenv/versions/*/bin", "~/.local/share/uv/python/*/bin"]
ABOUT = (
    "import sys, json, importlib.util as u; print(json.dumps({'path': sys.executable, 'version': sys.version_info[:3], "
)
ABOUT += "'venv': all(u.find_spec(m) for m in ('venv', 'ensurepip'))}))"
DISPLAY = "0x03"  # what the class of a graphics card begins with, in /sys


def pythons():
    found, seen = {}, set()
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders += [folder for place in PLACES for folder in sorted(glob.glob(os.path.expanduser(place)))]
    for path in [os.path.join(folder, name) for folder in folders for name in NAMES]:
        real = os.path.realpath(path)
        if os.path.isabs(path) and os.access(path, os.X_OK) and os.path.isfile(path) and real not in seen:
            seen.add(real)
            try:
                told = subprocess.check_output([path, "-c", ABOUT], stderr=subprocess.DEVNULL, timeout=10)
                about = json.loads(told.decode())  # its own path: many are links or small scripts
                found[os.path.realpath(about["path"])] = about
            except (OSError, ValueError, KeyError, subprocess.SubprocessError):
                continue  # a very old or a broken one
    return list(found.values())


def nvidia():
    """What the driver itself tells of the cards, else its tool; {} if there is no driver."""
    try:
        return by_library(ctypes.CDLL("libnvidia-ml.so.1"))
    except (OSError, AttributeError, ValueError) as error:
        told = str(error)
    fields = "name,memory.total,driver_version"
    command = ["nvidia-smi", "--query-gpu=" + fields, "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.check_output(command, stderr=subprocess.STDOUT, timeout=30).decode("utf-8", "replace")
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines.splitlines()) if len(row) == 3]
        cards = [{"name": name, "total_bytes": int(float(memory)) << 20} for name, memory, _ in rows]
        return {"driver": rows[0][2], "cuda": None, "cards": cards}
    except FileNotFoundError:
        return {"error": told} if cards_of("0x10de") else {}
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return {"error": f"{told}; {error}"} if cards_of("0x10de") else {}


def by_library(nvml):
    """Raises ValueError with what the driver says."""

    def call(function, *arguments):
        code = getattr(nvml, function)(*arguments)
        if code:
            nvml.nvmlErrorString.restype = ctypes.c_char_p
            raise ValueError(nvml.nvmlErrorString(code).decode())

    def text(function, *arguments):
        room = ctypes.create_string_buffer(96)
        call(function, *(arguments + (room, 96)))
        return room.value.decode("utf-8", "replace")

    call("nvmlInit_v2")
    count, cuda, cards = ctypes.c_uint(), ctypes.c_int(), []
    call("nvmlDeviceGetCount_v2", ctypes.byref(count))
    for index in range(count.value):
        card, memory = ctypes.c_void_p(), (ctypes.c_ulonglong * 3)()  # total, free, used
        call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(card))
        call("nvmlDeviceGetMemoryInfo", card, ctypes.byref(memory))
        cards.append({"name": text("nvmlDeviceGetName", card), "total_bytes": memory[0], "free_bytes": memory[1]})
    call("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda))
    version = [cuda.value // 1000, cuda.value % 1000 // 10]
    return {"driver": text("nvmlSystemGetDriverVersion"), "cuda": version, "cards": cards}


def cards_of(vendor):
    """How many graphics cards of a vendor are in the machine, whether or not a driver knows them."""
    count = 0
    for device in glob.glob("/sys/bus/pci/devices/*"):
        try:
            count += read(device + "/vendor") == vendor and read(device + "/class").startswith(DISPLAY)
        except OSError:
            continue
    return count


def amd():
    """As core/ops/devices.py counts them."""
    cards = 0
    for node in glob.glob("/sys/class/kfd/kfd/topology/nodes/*/properties"):
        try:
            cards += any(line.startswith("simd_count ") and line.split()[1] != "0" for line in read(node).splitlines())
        except (OSError, IndexError):
            continue
    return cards


def read(path):
    with open(path) as file:
        return file.read().strip()


def disk(folder):
    """Of the nearest folder above that is there: (free bytes, all bytes, whether we may write there)."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total, os.access(folder, os.W_OK | os.X_OK)


def main(folder):
    began = time.time()
    folder = os.path.abspath(os.path.expanduser(folder))
    free, total, writable = disk(folder)
    code = os.path.join(folder, "code")
    environments = glob.glob(os.path.join(glob.escape(code), ".envs", "*", "complete"))
    print(json.dumps({
        "began": began, "home": os.path.expanduser("~"), "folder": folder, "root": not os.getuid(),
        "system": platform.system(), "machine": platform.machine(), "libc": platform.libc_ver(),
        "free_bytes": free, "total_bytes": total, "writable": writable,
        "pythons": pythons(), "nvidia": nvidia(), "amd": amd(),
        "installed": os.path.isfile(os.path.join(code, ".venv", "installed.txt")),
        "environments": [os.path.basename(os.path.dirname(path)) for path in environments], "time": time.time(),
    }))  # fmt: skip


main(sys.argv[1])
