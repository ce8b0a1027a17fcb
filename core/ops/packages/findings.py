"""What a person should look at in a plugin's code before it runs, found by reading: none of it is run.

It finds what is written plainly, and that something is hidden; it proves nothing about code that nobody has read."""

import ast
import itertools
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SOURCE = 1_000_000  # bytes of one file that are read as code
MAX_FINDINGS = 1000

# What there is to find, gravest first, in the words of the report.
KINDS = {
    "hidden": "hides what it does",
    "dynamic": "runs code made while it runs (eval, exec, compile)",
    "programs": "starts other programs",
    "pickle": "reads data that can run code (pickle, marshal)",
    "weights": "reads weights that can run code (torch.load without weights_only=True)",
    "remote_code": "runs code that comes with a model (trust_remote_code)",
    "native": "calls machine code directly (ctypes, cffi)",
    "binary": "brings machine code or data that nobody can read",
    "startup": "changes how Python starts (.pth, sitecustomize)",
    "secrets": "looks for passwords, keys or tokens",
    "outside": "writes outside of its scratch folder",
    "paths": "names places of somebody's disk",
    "network": "uses the network",
    "internals": "reaches into what is not the plugin API, and may break with the next version",
    "work": "works while it is imported",
    "unread": "could not be read as Python",
    "source": "requirements come from elsewhere than the package index",
    "terms": "licence",
    "models": "models",
}

NAMES = {
    "eval": "dynamic", "exec": "dynamic", "compile": "dynamic", "__import__": "dynamic", "__builtins__": "hidden",
    "runpy.run_path": "dynamic", "runpy.run_module": "dynamic", "code.InteractiveInterpreter": "dynamic",
    "types.FunctionType": "dynamic", "types.CodeType": "dynamic", "builtins.eval": "dynamic",
    "builtins.exec": "dynamic", "builtins.compile": "dynamic", "builtins.__import__": "dynamic",
    "os.system": "programs", "os.popen": "programs", "os.fork": "programs", "os.forkpty": "programs",
    "os.startfile": "programs", "os.posix_spawn": "programs", "os.posix_spawnp": "programs", "os.kill": "programs",
    "asyncio.create_subprocess_exec": "programs", "asyncio.create_subprocess_shell": "programs",
    "joblib.load": "pickle", "pandas.read_pickle": "pickle", "yaml.unsafe_load": "pickle", "yaml.Loader": "pickle",
    "yaml.UnsafeLoader": "pickle", "dill.load": "pickle", "dill.loads": "pickle",
    "webbrowser.open": "network", "torch.hub.load": "remote_code", "torch.utils.cpp_extension": "native",
    "sys.setprofile": "hidden", "sys.settrace": "hidden", "site.addsitedir": "startup",
    "sys.path": "internals", "sys.modules": "internals", "sys.meta_path": "hidden", "sys.path_hooks": "hidden",
    "pathlib.Path.home": "paths", "os.path.expanduser": "paths", "getpass.getpass": "secrets", "keyring": "secrets",
}  # fmt: skip
MODULES = {
    name: kind
    for kind, names in (
        ("programs", "subprocess pty pexpect multiprocessing"),
        ("native", "ctypes _ctypes cffi mmap"),
        (
            "network",
            "socket socketserver ssl requests httpx aiohttp urllib.request urllib3 http.client http.server ftplib "
            "smtplib telnetlib websocket websockets paramiko asyncssh socketio xmlrpc pycurl",
        ),
    )
    for name in names.split()
}  # whatever is used of them
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "marshal", "shelve", "dill"}
UNPICKLE = {"load", "loads", "Unpickler", "open", "_load", "_loads", "_Unpickler"}
OS_PREFIXES = ("os.exec", "os.spawn")
DECODERS = {
    "base64.b64decode", "base64.b85decode", "base64.a85decode", "base64.b32decode", "base64.b16decode",
    "base64.urlsafe_b64decode", "base64.decodebytes", "zlib.decompress", "lzma.decompress", "bz2.decompress",
    "gzip.decompress", "codecs.decode", "binascii.unhexlify", "binascii.a2b_base64", "bytes.fromhex",
}  # fmt: skip
INNARDS = {"__globals__", "__subclasses__", "__code__", "__builtins__", "f_globals", "f_locals", "gi_frame"}
HEAVY = {
    "torch", "torchvision", "torchaudio", "diffusers", "transformers", "tensorflow", "jax", "keras", "onnxruntime",
    "scipy", "sklearn", "pandas", "matplotlib", "cv2", "spandrel", "k_diffusion", "accelerate", "xformers", "librosa",
    "huggingface_hub",
}  # fmt: skip
BUSY = {
    "open", "print", "input", "time.sleep", "threading.Thread", "os.listdir", "os.walk", "os.scandir", "os.makedirs",
    "os.mkdir", "logging.basicConfig", "atexit.register", "signal.signal", "glob.glob",
}  # fmt: skip
BUSY_METHODS = {
    "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "iterdir", "glob", "rglob", "start", "unlink",
    "from_pretrained", "touch",
}  # fmt: skip
WRITERS = {
    "open", "os.remove", "os.unlink", "os.rename", "os.replace", "os.makedirs", "os.mkdir", "os.rmdir", "os.chmod",
    "os.symlink", "os.link", "shutil.rmtree", "shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree",
    "shutil.move",
}  # fmt: skip
WRITING_METHODS = {
    "write_text", "write_bytes", "mkdir", "unlink", "rmdir", "touch", "rename", "replace", "open", "chmod",
}  # fmt: skip
SUSPICIOUS_CALLEES = {"os", "sys", "builtins", "__builtins__", "importlib", "subprocess", "ctypes"}
ENCODED = re.compile(r"[A-Za-z0-9+/=_\-\s]{600,}|(?:\\x[0-9a-f]{2}|[0-9a-fA-F]{2}){300,}")
PLACE = re.compile(
    r"^(?:~[/\\]|/(?:home|root|etc|usr|var|tmp|opt|mnt|Users|Library|proc|sys|dev)(?:/|$)|[A-Za-z]:[\\/])"
)
SECRET = re.compile(
    r"(?:^|[/\\])(?i:\.ssh|\.aws|\.netrc|\.gnupg|id_rsa|id_ed25519|login data|cookies\.sqlite|wallet\.dat"
    r"|\.git-credentials|local state)(?:$|[/\\])|^(?:[A-Z0-9]+_)*(?:TOKEN|SECRET|API_KEY|PASSWORD)$"
)
INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x08\x0b\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Finding:
    """`kind` is one of KINDS, `where` is "file:line", or the file where it is about all of it."""

    kind: str
    where: str
    text: str


def of_source(path: str, data: bytes, imported: bool) -> list[Finding]:
    """What there is in the code of one file; `imported`: whether that is when the plugin is."""
    if len(data) > MAX_SOURCE:
        return [Finding("unread", path, f"{len(data):,} bytes of code, too much to be looked at")]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its strings
            tree = ast.parse(data)
        text = data.decode("utf-8")  # as Python reads what names no encoding
        found = sorted({*_Reader(path, imported).read(tree), *_of_text(path, text)}, key=_order)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else path
        return [Finding("unread", where, ascii(str(getattr(error, "msg", error)))[1:-1][:200] or type(error).__name__)]
    return found[:MAX_FINDINGS]


def _order(finding: Finding) -> tuple[int, str]:
    return int(finding.where.rpartition(":")[2]), finding.kind


def _of_text(path: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if INVISIBLE.search(line.removeprefix("\ufeff") if number == 1 else line):
            yield Finding("hidden", f"{path}:{number}", "has signs that nobody sees")
        if len(line) > 1000:
            yield Finding("hidden", f"{path}:{number}", f"a line of {len(line):,} signs")


class _Reader:
    """Walks one file's syntax tree. `names` is what its imports have made each name stand for."""

    def __init__(self, path: str, imported: bool):
        self._path, self._imported, self._names = path, imported, {}

    def read(self, tree: ast.Module) -> Iterator[Finding]:
        for node in ast.walk(tree):  # imports inside functions count for the whole file
            self._import(node)
        seen: set[ast.AST] = set()
        stack: list[tuple[ast.AST, bool]] = [(tree, self._imported)]  # whether it is done at import
        while stack:
            node, now = stack.pop()
            for kind, text in self._look(node, now, seen):
                yield Finding(kind, f"{self._path}:{getattr(node, 'lineno', 1)}", text)
            stack += [(child, now and not later) for child, later in _inside(node)][::-1]

    def _import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for each in node.names:
                name = each.name if each.asname else each.name.partition(".")[0]
                self._names[each.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            self._names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            known = self._name(node.value)
            if known.partition(".")[0] in {*SUSPICIOUS_CALLEES, *PICKLES}:  # s = os; s.system("x")
                self._names |= {each.id: known for each in node.targets if isinstance(each, ast.Name)}

    def _name(self, node: ast.AST) -> str:
        """What an expression names, as it is called where it is from: "os.system" of `s` after `from os import system
        as s`; "" where it is no name. Of something unknown, "?.load"."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ".".join(["?", *reversed(parts)]) if parts else ""
        return ".".join([self._names.get(node.id, node.id), *reversed(parts)])

    def _look(self, node: ast.AST, now: bool, seen: set[ast.AST]) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Import):
            for each in node.names:
                yield from self._module(each.name, now)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from self._module(node.module or "", now)
            for each in node.names:
                yield from self._named(f"{node.module}.{each.name}")
                if f"{node.module}.{each.name}" in MODULES:
                    yield from self._module(f"{node.module}.{each.name}", now)
        elif isinstance(node, ast.Name | ast.Attribute) and node not in seen and not isinstance(node.ctx, ast.Store):
            inner: ast.AST = node
            while isinstance(inner, ast.Attribute):  # os.system is one thing, not two
                seen.add(inner := inner.value)
            yield from self._named(self._name(node), node)
        elif isinstance(node, ast.Constant):
            yield from _of_constant(node.value)
        if isinstance(node, ast.Call):
            yield from self._call(node, now)
        if isinstance(node, ast.Name | ast.arg | ast.FunctionDef | ast.ClassDef):
            name = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "name", "")
            if not name.isascii():
                yield "hidden", f"{name!r}, a name that may look like another"
        if now:
            yield from self._at_import(node)

    def _module(self, name: str, now: bool) -> Iterator[tuple[str, str]]:
        top = name.partition(".")[0]
        for known in (name, top, ".".join(name.split(".")[:2])):
            if known in MODULES:
                yield MODULES[known], f"imports {name}"
                break
        if top == "core" and name != "core.plugin":
            yield "internals", f"imports {name}; only core.plugin is the plugin API"
        if top in ("sitecustomize", "usercustomize"):
            yield "startup", f"imports {name}"
        if now and top in HEAVY:
            yield "work", f"imports {top}, which takes long; import it in the function that needs it"

    def _named(self, name: str, node: ast.AST | None = None) -> Iterator[tuple[str, str]]:
        top, _, last = name.rpartition(".")
        known = next((name[:end] for end in _ends(name) if name[:end] in NAMES), None)
        if known:
            yield NAMES[known], known
        elif name.startswith(OS_PREFIXES):
            yield "programs", name
        elif top in PICKLES and last in UNPICKLE:
            yield "pickle", name
        elif node is not None and (last in INNARDS or (last == "__dict__" and top in SUSPICIOUS_CALLEES)):
            yield "hidden", f"looks at {last}"

    def _call(self, node: ast.Call, now: bool) -> Iterator[tuple[str, str]]:
        name, given = self._name(node.func), {each.arg: each.value for each in node.keywords}
        last = name.rpartition(".")[2]
        if name == "torch.load" and not _is(given.get("weights_only"), True):
            yield "weights", "torch.load without weights_only=True"
        if name == "numpy.load" and "allow_pickle" in given and not _is(given["allow_pickle"], False):
            yield "pickle", "numpy.load with allow_pickle"
        if name == "yaml.load" and not any("Safe" in self._name(each) for each in _walk(node)):
            yield "pickle", "yaml.load without SafeLoader"
        if "trust_remote_code" in given and not _is(given["trust_remote_code"], False):
            yield "remote_code", f"{last}(trust_remote_code=...)"
        if name == "importlib.import_module":
            known = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if isinstance(known, str):
                yield from self._module(known, now)
            else:
                yield "dynamic", "imports a module whose name it works out"
        if name in ("getattr", "setattr", "vars") and node.args and self._name(node.args[0]) in SUSPICIOUS_CALLEES:
            yield "hidden", f"{name} of {self._name(node.args[0])}"
        if name in ("eval", "exec", "compile", "__import__") and self._decodes(node):
            yield "hidden", f"{name} of something that is decoded first"
        if name in ("os.environ.get", "os.getenv") and node.args and not isinstance(node.args[0], ast.Constant):
            yield "secrets", "looks up variables of the environment by names that it works out"
        if (name in WRITERS or last in WRITING_METHODS) and self._writes(name, node):
            if place := self._place(node):
                yield "outside", f"{last or name} of {place}"

    def _decodes(self, node: ast.Call) -> bool:
        calls = [each for argument in node.args for each in _walk(argument) if isinstance(each, ast.Call)]
        names = {self._name(each.func) for each in calls}
        return bool(
            names & DECODERS or {name.rpartition(".")[2] for name in names} & {"decode", "join", "fromhex", "chr"}
        )

    def _writes(self, name: str, node: ast.Call) -> bool:
        if name.rpartition(".")[2] != "open":
            return True
        position = 1 if name in ("open", "io.open") else 0
        mode = next((each.value for each in node.keywords if each.arg == "mode"), None)
        mode = mode or (node.args[position] if len(node.args) > position else None)
        return isinstance(mode, ast.Constant) and isinstance(mode.value, str) and bool(set(mode.value) & set("wax+"))

    def _place(self, node: ast.Call) -> str:
        """What in a call's path lies outside; "" where nothing tells."""
        parts = [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
        for each in (each for part in parts for each in _walk(part)):
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and not isinstance(each, ast.JoinedStr):
                if PLACE.match(each.value) or ".." in re.split(r"[/\\]", each.value):
                    return repr(each.value[:60])
            elif isinstance(each, ast.Name | ast.Attribute):
                name = self._name(each)
                if name in ("__file__", "os.environ", "os.getcwd", "os.path.expanduser") or name.endswith("Path.home"):
                    return name
        return ""

    def _at_import(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield "work", f"calls {self._name(node.value.func) or 'something'}"
        elif isinstance(node, ast.Call):
            name = self._name(node.func)
            kind = MODULES.get(name.partition(".")[0]) or MODULES.get(name.rpartition(".")[0])
            if kind == "network" or name in BUSY or name.rpartition(".")[2] in BUSY_METHODS:
                yield "work", f"calls {name}"
        elif isinstance(node, ast.While | ast.AsyncFor):
            yield "work", "a loop"


def _of_constant(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return
    if len(value) >= 600 and (match := ENCODED.search(value)) and " " not in match[0].strip()[:600].replace("\n", ""):
        yield "hidden", f"a text of {len(value):,} signs that looks encoded"
    elif SECRET.search(value[:200]):
        yield "secrets", repr(value[:60])
    elif PLACE.match(value[:200]) and "\n" not in value and " " not in value.strip():
        yield "paths", repr(value[:60])


def _ends(name: str) -> Iterator[int]:
    """Where the names end that "a.b.c" begins with: "a.b.c" itself, "a.b", "a"."""
    yield len(name)
    yield from (place.start() for place in re.finditer(r"\.", name))


def _is(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def imports(data: bytes) -> set[str]:
    """What a file of a package imports from the package itself when it is imported: "a.b" for `from .a import b`, and
    "a", as one of both is a file. Of code that cannot be read, nothing."""
    found, stack = set(), []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stack = [ast.parse(data)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    while stack:
        node = stack.pop()
        if isinstance(node, ast.ImportFrom) and node.level:
            start = "." * (node.level - 1) + (node.module or "")
            found |= {start, *(f"{start}.{each.name}" if node.module else start + each.name for each in node.names)}
        stack += [child for child, later in _inside(node) if not later]
    return found


def _inside(node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """What is inside a piece of code, and whether that is run later, if ever."""
    later: list[ast.AST] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        later = node.body if isinstance(node.body, list) else [node.body]
    elif isinstance(node, ast.If) and _only_sometimes(node.test):
        later = node.body
    ids = {id(each) for each in later}
    return ((child, id(child) in ids) for child in ast.iter_child_nodes(node))


def _only_sometimes(test: ast.expr) -> bool:
    """Whether that is never so when the plugin is imported."""
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """The beginning of what is inside: a call of a call of a call would take for ever."""
    return itertools.islice(ast.walk(node), 50)
