"""The pages' own modules, those without a browser in them, run by node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from curier.web import pages
from tests.conftest import require_peer


class Node:
    """A folder with the modules, in which programs are run."""

    def __init__(self, folder: Path) -> None:
        self.node = require_peer("node")
        self.folder = folder
        (folder / "package.json").write_text('{"type": "module"}')
        for path in pages.FOLDER.glob("*.js"):
            (folder / path.name).write_text(path.read_text())

    def run(self, program: str, given: Any) -> Any:
        """What a program says: the body of a module that has ``given`` and calls ``tell`` once."""
        frame = (
            'import { readFileSync as read_file } from "node:fs";\n'
            'const given = JSON.parse(read_file(0, "utf8"));\n'
            "const tell = (value) => console.log(JSON.stringify(value));\n"
        )
        (self.folder / "program.js").write_text(frame + program)
        done = subprocess.run(
            [self.node, self.folder / "program.js"],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
