"""A node and an npm that do as a test says: `fake = Npm(folder)`, `fake.does(ci="exit 1")`."""

import os

NODE = "#!/bin/sh\necho v22.12.0\n"
SCRIPT = """#!/bin/sh
[ "$1" = --version ] && echo 11.0.0 && exit
echo "$1" >> "{folder}/calls"
echo $$ > "{folder}/pid"
. "{folder}/$1.sh"
"""
BUILD = "mkdir -p dist/assets; echo '<!doctype html><title>Full</title>' > dist/index.html; cp -r src/* dist/assets\n"


class Npm:
    """`does` changes shell scripts: `ci` runs where packages are installed, `run` where the page is built."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        folder.mkdir()
        for name, text in (("node", NODE), ("npm", SCRIPT.format(folder=folder))):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        self.does()

    def does(self, ci="mkdir node_modules", run=BUILD):
        (self.folder / "ci.sh").write_text(f"{ci}\n")
        (self.folder / "run.sh").write_text(f"{run}\n")

    def waits(self):
        """A build that goes on once `go` was called."""
        self.does(run=f'while [ ! -e "{self.folder}/go" ]; do sleep 0.05; done\n{BUILD}')

    def go(self):
        (self.folder / "go").touch()

    @property
    def calls(self):
        """What it was told: "ci" and "run", in the order in which they were called."""
        file = self.folder / "calls"
        return file.read_text().split() if file.exists() else []

    @property
    def pid(self):
        return int((self.folder / "pid").read_text())
