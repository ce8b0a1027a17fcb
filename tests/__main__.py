"""Runs every test and adds up: the server's in .venv, each plugin's in that plugin's own environment.

python3 -m tests [--quick] [--weights DIR] [pytest arguments]; --quick leaves out what needs torch, a browser or
patience, --weights also loads, and draws with, each published Stable Diffusion model in DIR."""

import compileall
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from core.ops import bootstrap

ROOT = Path(__file__).resolve().parents[1]
ENVS = ROOT / ".envs"
TEST_LOCK = ROOT / "requirements-test.lock"
# Each lane takes the next file when it is done with one.
LANES = ["--dist", "loadfile", "--no-loadscope-reorder", "-p", "tests.order", "-n"]
OF_SERVER, OF_PLUGIN = "4", "2"  # lanes, for two cores: the server's tests mostly wait for processes
FEW = 10  # files of tests: for so few, more than one lane takes longer to start than it saves
BESIDE = 2  # parts are tested at once: the server's and plugins, later two plugins
NICE = 10  # how much plugins give way to the server
MOST_AGAIN = 10  # tests are run again; where more fail, that is not chance
# The plugin's own packages come first; pytest is appended, so the tests see what the plugin would see.
PLUGIN_PYTEST = "import sys; sys.path.append(sys.argv.pop(1)); import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def main():
    arguments = sys.argv[1:]
    if {"-h", "--help"} & {*arguments}:
        print(__doc__, "\nWhat pytest takes: python3 -m pytest --help")
        return 0
    if "--weights" in arguments[:-1]:
        at = arguments.index("--weights")
        os.environ["STABLE_CORE_WEIGHTS"] = str(Path(arguments[at + 1]).resolve(strict=True))
        del arguments[at : at + 2]
    quick = "--quick" in arguments
    options = ["-m", "not slow and not torch and not browser"] if quick else []
    paths = [argument for argument in arguments if is_test_path(argument)]
    options += [argument for argument in arguments if argument not in paths and argument != "--quick"]

    of_plugin = {path: plugin_of(path) for path in paths}
    parts = [(plugin.name, plugin, some) for plugin, some in chosen_plugins(of_plugin, quick)]
    if not paths or None in of_plugin.values():
        parts.insert(0, ("server", None, [path for path in paths if of_plugin[path] is None]))
    if not paths:
        compile_sources()
    counts = run_all(parts, options) if not paths else run_each(parts, options)
    passed, failed, skipped, unsteady = (
        sum(each, start) for each, start in zip(zip(*counts, strict=True), Counts(), strict=True)
    )
    lines = sum(code_lines(path) for path in [*ROOT.glob("core/*.py"), *ROOT.glob("server.py")])
    print(f"\nkernel: {lines} lines of code in core/*.py and server.py (aim 800, bound 1000)")
    for each in unsteady:
        print(f"unsteady: {each}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped, {len(unsteady)} unsteady")
    return 0 if passed and not failed else 1


def compile_sources():
    """Hundreds of processes import them, and where PYTHONDONTWRITEBYTECODE is set each would compile them."""
    for name in ("core", "clients", "plugins"):
        compileall.compile_dir(ROOT / name, rx=re.compile("node_modules"), quiet=2, workers=2)


def run_each(parts, options):
    for name, plugin, some in parts:
        print(f"\n{name}", flush=True)
        command = command_of(plugin)
        yield run(command, some, options) if command else Counts(failed=1)


def run_all(parts, options):
    """The server's tests, beside them plugins' with the processor time that is left, at last two plugins at once, those
    with most tests first; what each has said is shown when it has ended. What failed is run again when nothing else is.
    """
    plugins = sorted((plugin for _, plugin, _ in parts if plugin), key=lambda plugin: -len(files_of(plugin)))

    def test_server():
        print("\nserver", flush=True)
        command = command_of(None)
        return "", command, *run_once([*command, *LANES, OF_SERVER, *options])

    def test(plugin):
        command, lanes = command_of(plugin), [*LANES, OF_PLUGIN] if len(files_of(plugin)) > FEW else []
        if not command:
            return f"\n{plugin.name}\n", None, Counts(failed=1), {}
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            found = run_once([*command, *lanes, *options, str(plugin / "tests")], output)
            output.seek(0)
            return f"\n{plugin.name}\n{output.read()}", command, *found

    with ThreadPoolExecutor(BESIDE) as pool:
        ended = [pool.submit(test_server)] if not all(plugin for _, plugin, _ in parts) else []
        pool.submit(prepare, plugins)
        ended += [pool.submit(test, plugin) for plugin in plugins]
        try:
            for found in ended:
                print(found.result()[0], end="", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    for _, command, counts, failures in (found.result() for found in ended):
        yield again(command, options, counts, failures)


def prepare(plugins):
    """Make all environments while the server's tests begin, which wait for some of them; what this thread starts after
    that gives way to them."""
    from core.ops import environments

    for plugin in plugins:
        command_of(plugin)
    with contextlib.suppress(environments.InstallError):  # the tests that need it say so
        environments.ensure_lock(environments.RAY.with_suffix(".lock"), ENVS)
    if hasattr(os, "nice"):
        os.nice(NICE)


def files_of(plugin):
    return [*plugin.glob("tests/test_*.py")]


def is_test_path(argument):
    path = Path(argument.split("::")[0]).resolve()
    return path.exists() and any(path.is_relative_to(ROOT / folder) for folder in ("tests", "plugins"))


def chosen_plugins(of_plugin, quick):
    """Plugins and which of their tests to run."""
    for plugin in sorted(folder.parent for folder in ROOT.glob("plugins/*/tests")):
        chosen = [path for path in of_plugin if of_plugin[path] == plugin]
        if chosen or not (of_plugin or quick):
            yield plugin, chosen or [str(plugin / "tests")]


def plugin_of(path):
    parts = Path(path.split("::")[0]).resolve().relative_to(ROOT).parts
    return ROOT.joinpath(*parts[:2]) if parts[:1] == ("plugins",) and len(parts) > 1 else None


def command_of(plugin):
    """That of pytest for a plugin's tests, or for the server's; None if the environment cannot be made."""
    from core.ops import environments

    if not plugin:
        return [sys.executable, "-m", "pytest"]

    try:
        python = environments.ensure(plugin, ENVS)
        overlay = environments.ensure_lock(TEST_LOCK, ENVS)
    except environments.InstallError as error:
        print(error, file=sys.stderr)
        return None
    return [str(python), "-c", PLUGIN_PYTEST, site_packages(overlay)]


def site_packages(python):
    folder = python.parents[1]
    return str(next(folder.glob("[Ll]ib/**/site-packages")))


class Counts(NamedTuple):
    """Of pytest. `unsteady` are tests that failed and passed when they were run again, and how they failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    unsteady: list[str] = []


def run(command, paths, options, whole=False):
    """The Counts of pytest on `paths`; in a `whole` run, after what failed was run again."""
    counts, failures = run_once([*command, *options, *paths])
    return again(command, options, counts, failures) if whole else counts


def again(command, options, counts, failures):
    """The Counts after what failed was run once more, alone: what depends on how busy a machine is shall be known and
    mended, but hide nothing else."""
    if not failures or len(failures) != counts.failed or len(failures) > MOST_AGAIN:
        return counts
    print("\nonce more, alone", flush=True)
    second, still = run_once([*command, *options, *failures])
    if second.passed + second.failed < len(failures):
        return counts
    unsteady = [f"{id}: {how}" for id, how in failures.items() if id not in still]
    return counts._replace(failed=len(still), unsteady=unsteady)


def run_once(command, output=None):
    """(the Counts, {test: how it failed}) of pytest, which prints into `output`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        report_to = [f"--junitxml={report}", "-o", "junit_family=xunit1"]  # that has the tests' files
        code = subprocess.run([*command, *report_to], cwd=ROOT, stdout=output, stderr=output).returncode
        suites = list(ElementTree.parse(report).iter("testsuite")) if report.exists() else []
    tests, wrong, errors, skipped = (
        sum(int(suite.get(key)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    failures = {}
    for case in (case for suite in suites for case in suite.iter("testcase")):
        for problem in [*case.iter("failure"), *case.iter("error")]:
            failures[id_of(case)] = problem.get("message", "").partition("\n")[0]
    failed = max(len(failures), code not in (0, 5))  # 5: nothing was selected here
    return Counts(max(0, tests - wrong - errors - skipped), failed, skipped), failures


def id_of(case):
    """What pytest calls a test, from its report."""
    file, of, name = case.get("file", ""), case.get("classname", ""), case.get("name")
    classes = of.removeprefix(file.removesuffix(".py").replace("/", ".")).split(".")[1:]
    return "::".join([file, *classes, name] if file and of else [file or name])


def code_lines(path):
    """Lines of a Python file that are not blank, comment or docstring."""
    import ast
    import tokenize

    with tokenize.open(path) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    layout = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER)
    code = {line for token in tokens if token.type not in layout for line in range(token.start[0], token.end[0] + 1)}
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, documented) and ast.get_docstring(node):
            code -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(code)


if __name__ == "__main__":
    bootstrap.ensure([ROOT / "requirements.lock", TEST_LOCK])
    sys.exit(main())
