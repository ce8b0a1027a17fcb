"""Tiny wheels and processes for the tests of installation, which install for real but fetch nothing."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from core.ops.bootstrap import ROOT


def make_wheel(folder, name, version="1.0", requires=(), tag="py3-none-any"):
    """A wheel whose only module says its version; returns the path."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\npath = lambda: path.__code__.co_filename\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = [f"{path},sha256={url_hash(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def url_hash(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def locked(*wheels):
    """The text of a lock file with exactly these wheels."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return "".join(lines)


def copy_ops(clone):
    """Just enough of the repository to install itself."""
    (clone / "core/ops").mkdir(parents=True)
    for path in ("core/__init__.py", "core/ops/__init__.py", "core/ops/bootstrap.py", "core/ops/environments.py"):
        shutil.copy(ROOT / path, clone / path)


def clean_environment(**changes):
    """The process's environment without settings of pip and uv that a developer may have, plus these."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "PYTHON"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "NO_PROXY": "127.0.0.1", **changes}


def in_mount_namespace(script, *arguments, **options):
    """Run a shell script that may mount; skips where the system does not let us."""
    if sys.platform != "linux" or subprocess.call(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL) != 0:
        pytest.skip("needs Linux with mount namespaces")
    command = ["unshare", "-rm", "sh", "-ec", script, "sh", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)
