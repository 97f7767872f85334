"""The scripts of the pages, by the types that their comments say: TypeScript has nothing against them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from curier.web import pages
from tests.conftest import INTEROP_JS, require_peer

TYPED = {
    "preact": 'export * from "preact";',
    "hooks": 'export * from "preact/hooks";',
    "signals": 'export * from "@preact/signals";',
    "htm": 'export { default } from "htm";',
    "uplot": 'export { default } from "uplot";',
}
OPTIONS = {
    "allowJs": True,
    "checkJs": True,
    "noEmit": True,
    "strict": True,
    "noUnusedLocals": True,
    "noImplicitReturns": True,
    "skipLibCheck": True,
    "target": "es2022",
    "module": "esnext",
    "moduleResolution": "bundler",
    "lib": ["es2023", "dom", "dom.iterable"],
    "types": [],
}


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    require_peer("mqttjs")  # what is installed beside it
    (folder / "lib").mkdir()
    for path in pages.FOLDER.glob("*.js"):
        (folder / path.name).write_text(path.read_text())
    for name, text in TYPED.items():
        (folder / "lib" / f"{name}.d.ts").write_text(text)
    (folder / "node_modules").symlink_to(INTEROP_JS / "node_modules")
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "include": ["*.js"]}))
    return subprocess.run(
        [INTEROP_JS / "node_modules" / ".bin" / "tsc", "-p", folder],
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_they_are_right(tmp_path: Path) -> None:
    done = checked(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """That is, the types of the libraries and of the pages' own parts are known."""
    wrong = '// @ts-check\nimport { size } from "./format.js";\nimport { signal } from "./html.js";\n'
    (tmp_path / "wrong.js").write_text(wrong + 'size("a");\nsignal(1).nothing;\n')
    told = checked(tmp_path).stdout
    assert "wrong.js(4,6): error TS2345" in told
    assert "wrong.js(5,11): error TS2339" in told
