"""What is said of a plugin before any of its code runs, and what of a hostile one."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from core.ops.packages import findings
from core.ops.packages.inspection import content_hash, inspect
from tests.serving import ROOT

PLUGIN = """
from core.plugin import Context, Image, Mask, Params, Plugin, Text, job, param


class Paint(Plugin):
    @job(affinity="model")
    def paint(self, image: Image, masks: list[Mask], params: Params, ctx: Context, note: Text | None = None) -> Image:
        return image

    @job(light=True)
    def count(self, params: Params) -> Text:
        return "1"
"""
MIT = "Permission is hereby granted, free of charge, to any person"


def make(folder, manifest="", files=None, **changes):
    """A plugin in `folder`, with more in its plugin.toml and more files."""
    values = {"name": "paint", "version": "1.2.0", "api": 1, "title": "Paint", "licence": "MIT"} | changes
    lines = [f"{key} = {value!r}" for key, value in values.items() if value is not None]
    given = {"plugin.toml": "\n".join([*lines, manifest]), "__init__.py": PLUGIN, "LICENSE": MIT} | (files or {})
    for name, content in given.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def found(code, imported=True):
    return [(each.kind, each.where, each.text) for each in findings.of_source("a.py", code.encode(), imported)]


def test_a_report_says_what_the_plugin_is_and_does(tmp_path):
    models = '[[models]]\nkind = "upscaler"\nname = "x4"\nurl = "https://example.org/x4.safetensors"\n'
    models += 'size_bytes = 67_000_000\nlicence = "BSD-3-Clause"\nsha256 = "' + "0" * 64 + '"'
    report = inspect(make(tmp_path, f'description = "Paints."\n{models}', {"requirements.txt": "numpy>=2 # sums\n"}))
    assert (report.errors, report.warnings) == ([], [])
    assert list(report.lines()) == [
        "plugin    paint 1.2.0  Paint",
        "about     Paints.",
        "licence   MIT",
        f"content   4 files, 1 kB, hash {content_hash(tmp_path)}",
        "job       paint (image: Image, masks: list[Mask], note: Text | None) -> Image",
        "job       count () -> Text, light",
        "model     upscaler x4: 67 MB, BSD-3-Clause, to be fetched when you ask for it",
        "packages  numpy>=2 (not locked: versions are chosen at installation)",
    ]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_anybody_can_work_out_the_hash_with_the_tools_of_the_shell_and_caches_do_not_count(tmp_path):
    make(tmp_path, files={"b/c.txt": "c", "b.txt": "b"})
    command = re.search(r"^cd frame; (.*)$", (ROOT / "docs" / "indexes.md").read_text("utf-8"), re.MULTILINE)[1]
    expected = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True).stdout.split()[0]
    assert content_hash(tmp_path) == expected
    make(tmp_path, files=dict.fromkeys(("__pycache__/__init__.cpython-311.pyc", ".git/hooks/x", ".hidden.py"), "evil"))
    assert content_hash(tmp_path) == expected
    (tmp_path / "b.txt").rename(tmp_path / "b2.txt")
    assert content_hash(tmp_path) != expected


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("eval('1')", "dynamic"),
        ("run = exec", "dynamic"),
        ("import builtins as b\nb.exec('1')", "dynamic"),
        ("__import__('os')", "dynamic"),
        ("import importlib\nimportlib.import_module(name)", "dynamic"),
        ("import subprocess as s\ns.run('x')", "programs"),
        ("from os import system as s\ns('x')", "programs"),
        ("import os\nos.execv('x', [])", "programs"),
        ("import os\ns = os\ns.system('x')", "programs"),
        ("import importlib\nimportlib.import_module('subprocess')", "programs"),
        ("import os\nos.__dict__['system']('x')", "hidden"),
        ("getattr(__import__('os'), 'sys' + 'tem')('x')", "dynamic"),
        ("import os\ngetattr(os, 'sys' + 'tem')('x')", "hidden"),
        ("().__class__.__base__.__subclasses__()", "hidden"),
        ("import base64\nexec(base64.b64decode(data))", "hidden"),
        ("exec(bytes.fromhex(data))", "hidden"),
        (f"x = '{'QUJD' * 200}'", "hidden"),
        ("x = 1 # \u202e", "hidden"),
        ("s\u0435lf = 1\nprint(s\u0435lf)", "hidden"),
        ("import pickle\npickle.load(f)", "pickle"),
        ("from marshal import loads", "pickle"),
        ("import numpy as np\nnp.load(f, allow_pickle=True)", "pickle"),
        ("import yaml\nyaml.load(f)", "pickle"),
        ("import torch\ntorch.load(f)", "weights"),
        ("import torch\ntorch.load(f, weights_only=False)", "weights"),
        ("AutoModel.from_pretrained('x', trust_remote_code=True)", "remote_code"),
        ("import ctypes", "native"),
        ("import requests", "network"),
        ("from urllib import request", "network"),
        ("def f():\n    import socket", "network"),
        ("x = '~/.ssh/id_rsa'", "secrets"),
        ("import os\nos.environ['HF_TOKEN']", "secrets"),
        ("x = '/etc/passwd'", "paths"),
        ("from pathlib import Path\nPath.home()", "paths"),
        ("open('/tmp/x', 'w')", "outside"),
        ("from pathlib import Path\n(Path(__file__).parent / 'x').write_text('')", "outside"),
        ("import shutil\nshutil.rmtree('../x')", "outside"),
        ("import core.library.models", "internals"),
        ("import sys\nsys.path.append('x')", "internals"),
        ("import torch", "work"),
        ("start()", "work"),
        ("x = open('x')", "work"),
        ("class A:\n    x = requests.get('x')", "work"),
        ("def f(:", "unread"),
        ("x = '\0'", "unread"),
        ("(" * 10_000, "unread"),
    ],
)
def test_what_a_person_should_look_at_is_named_with_its_line(code, kind):
    line = code.count("\n", 0, len(code)) + 1
    kinds = {each[0]: each[1] for each in found(code)}
    assert kinds.get(kind) in (f"a.py:{line}", "a.py", "a.py:1"), kinds


@pytest.mark.parametrize(
    "code",
    [
        "import re\nWORD = re.compile('x')\nready = model.eval()",
        "def f():\n    import torch\n    torch.load(p, weights_only=True)\n    torch.compile(m)",
        "def f(ctx):\n    (ctx.scratch / 'x').write_text('y')\n    open(ctx.scratch / 'y', 'w')",
        "import typing\nif typing.TYPE_CHECKING:\n    import torch\nif __name__ == '__main__':\n    main()",
        "from core.plugin import Image\nimport yaml\nx = yaml.load(f, Loader=yaml.SafeLoader)",
        "text = 'a / b'\npad = 'pad_token'\nadvice = '/usr/bin is where programs are'",
        "x = '''" + "a long text for people with words in it\n" * 50 + "'''",
    ],
)
def test_ordinary_code_is_not_warned_of(code):
    assert found(code) == []


def test_only_what_is_imported_works_at_import(tmp_path):
    torch = dict.fromkeys(("b/c.py", "later.py", "tests/test_a.py"), "import torch\n")
    files = {"__init__.py": PLUGIN + "from . import a\n", "a.py": "from .b.c import d\n", "b/__init__.py": "", **torch}
    report = inspect(make(tmp_path, files=files))
    assert [(each.kind, each.where) for each in report.warnings] == [("work", "b/c.py:1")]


def test_what_is_no_code_is_looked_at_as_well(tmp_path):
    files = {
        "a.so": b"\x7fELF\0",
        "innocent.txt": b"MZ\x90",
        "w.pth": "import os; os.system('x')",
        "m.pkl": b"\x80",
        "sitecustomize.py": "",
        "LICENSE": "GNU AFFERO GENERAL PUBLIC LICENSE",
        "requirements.txt": "--extra-index-url https://e.example\nnumpy @ https://e.example/n.whl\n-e .\nrich",
    }
    model = f'[[models]]\nkind = "a"\nname = "b"\nurl = "http://example.org/b.ckpt"\nsha256 = "{"0" * 64}"'
    model += f'\n[[models]]\nkind = "a"\nname = "c"\nrepo = "a/c"\nrevision = "{"0" * 40}"'
    report = inspect(make(tmp_path, model, files))
    assert report.errors == []
    assert [f"{each.kind} {each.where} {each.text}" for each in report.warnings] == [
        "binary a.so a program or library for Linux, 1 kB",
        "binary innocent.txt a program or library for Windows, 1 kB",
        "binary m.pkl a pickle, 1 kB",
        "startup sitecustomize.py would be run by every Python that sees this folder",
        "startup w.pth a .pth file with code",
        "source requirements.txt:1 --extra-index-url https://e.example",
        "source requirements.txt:2 numpy @ https://e.example/n.whl",
        "source requirements.txt:3 -e .",
        "terms LICENSE plugin.toml says MIT, the text is of AGPL",
        "models plugin.toml a b would come without encryption: http://example.org/b.ckpt",
        "models plugin.toml a b is a file that can run code: http://example.org/b.ckpt",
        "models plugin.toml a b names no licence",
        "models plugin.toml a c names no licence",
    ]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"api": 2}, "it is written for api = 2, this server has 1. Update stable-core."),
        ({"api": None}, "it is written for api = None, this server has 1. Ask its author for a newer version."),
        ({"name": "../x"}, "plugin.toml: name has to be 1 to 64 letters, digits, _ and -."),
        ({"version": "1/2"}, 'plugin.toml: version has to be like "1.2.0", with letters, digits and .+_- only.'),
        ({"title": 5}, "plugin.toml: title has to be a text of at most 2,000 signs."),
        ({"homepage": "javascript:x"}, "plugin.toml: homepage has to begin with https://."),
        ({"manifest": "[[models]]\nkind = 'a'"}, "plugin.toml: models.0.name: Field required."),
        ({"manifest": "environment = 3"}, "plugin.toml: environment: Input should be a valid dictionary."),
        (
            {"manifest": "[[models]]\nkind = 'a'\nname = 'b'\npath = '../c'"},
            "plugin.toml: the model a b is to be at '../c': not in the package.",
        ),
        (
            {"manifest": "[environment]\nrequirements = '../x'"},
            "plugin.toml: environment.requirements is '../x': no such file in it.",
        ),
        ({"files": {"__init__.py": None}}, "there is no __init__.py beside plugin.toml."),
        ({"files": {"plugin.toml": None}}, "plugin.toml: there is no such file: this is no plugin."),
        (
            {"files": {"__init__.py": "def f(:"}},
            "__init__.py, line 1, is no Python: invalid syntax (<unknown>, line 1).",
        ),
        ({"files": {"A.py": "", "a.py": ""}}, "A.py and a.py are one file on some systems. Rename one."),
        ({"files": {"a\x1b[2J": ""}}, "the name of its file 'a?[2J' cannot be had on every system. Rename it."),
    ],
)
def test_what_cannot_be_installed_is_refused_with_the_reason(tmp_path, change, error):
    assert error in inspect(make(tmp_path, **change)).errors


def test_nothing_in_a_report_steers_a_terminal(tmp_path):
    model = '[[models]]\nkind = "a"\nname = "b"\nurl = "https://example.org/b"\nlicence = "\\u001b[2J"\n'
    files = {
        "requirements.txt": "x\x1b[2J\n",
        "bad.py": "\x1b[2J",
        "ok.py": "open('/tmp/\x1b[2J', 'w')",
        "LICENSE": "\x1b",
    }
    report = inspect(make(tmp_path, 'description = "\\u001b[2J"\n' + model, files))
    assert all(line.isprintable() for line in report.lines()) and "\\u001b" not in report.model_dump_json()


def test_links_and_pipes_are_refused_and_not_followed(tmp_path):
    make(tmp_path, files={"a/b": ""})
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/")
    os.mkfifo(tmp_path / "pipe")
    assert inspect(tmp_path).errors == [
        "folder is a link. A package has files only.",
        "link is a link. A package has files only.",
        "pipe is no plain file. A package has files only.",
    ]


def test_what_would_take_for_ever_takes_a_moment(tmp_path):
    chain = "x" + ".open('a')" * 900 + "\n"
    files = {"chain.py": chain * 10, "deep.py": "-" * 900_000 + "1", "large.py": "#" * 2_000_000}
    started = time.process_time()
    assert {each.where.partition(":")[0] for each in inspect(make(tmp_path, files=files)).warnings} >= {"large.py"}
    many = make(tmp_path / "many", files={f"m{number}.py": "x\n" * 500_000 for number in range(25)})
    assert inspect(many).errors == ["it has more than 20 MB of code, which nobody can read."]
    assert time.process_time() - started < 10


def test_nothing_of_it_runs_when_it_is_looked_at(tmp_path):
    code = "import pathlib\npathlib.Path(r'" + str(tmp_path / "ran") + "').touch()\n"
    names = ("__init__.py", "setup.py", "conftest.py", "sitecustomize.py", "tests/__init__.py")
    make(tmp_path / "paint", files=dict.fromkeys(names, code))
    program = "import sys, pathlib; from core.ops.packages import inspection as i; i.inspect(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "paint")], cwd=ROOT, check=True)
    assert not (tmp_path / "ran").exists()
