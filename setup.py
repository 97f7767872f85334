"""Compile the five core folders, and the turn that drives them, with mypyc, where a C compiler is at hand.

The same sources run compiled and interpreted. `CURIER_PURE=1` asks for the interpreted form; a machine
that cannot build C extensions gets it too, and is told so in one line.
"""

import os
import sys
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import cast

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.dist import Distribution

CORE_FOLDERS = ("codec", "topics", "session", "protocol", "broker")
TURN_FILES = ("net/clock.py", "net/wire.py", "net/turn.py", "net/selector.py", "net/reactor.py")
TRIAL = "#include <Python.h>\nPyMODINIT_FUNC PyInit_trial(void) { return PyLong_FromLong(0); }\n"


class CleanBuild(build):
    """A build that begins empty: no module of an earlier form or of a removed source slips in."""

    def run(self) -> None:
        rmtree(self.build_lib, ignore_errors=True)
        super().run()


def can_compile() -> bool:
    """Try to build a C extension of one line: this needs a compiler, a linker and Python's headers."""
    noise = os.dup(2), os.dup(1)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "wb") as nowhere:
        source = Path(folder, "trial.c")
        source.write_text(TRIAL)
        command = build_ext(Distribution({"ext_modules": [Extension("trial", [str(source)])]}))
        command.build_lib = command.build_temp = folder
        # The compiler writes to the file descriptors themselves; its complaints would only frighten here.
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            command.ensure_finalized()
            command.run()
        except Exception:
            return False
        finally:
            os.dup2(noise[0], 2)
            os.dup2(noise[1], 1)
            os.close(noise[0])
            os.close(noise[1])
    return True


def core_extensions() -> list[Extension]:
    """Return the core and its turn as one mypyc group, or nothing for the interpreted form."""
    if os.environ.get("CURIER_PURE") == "1":
        print("curier: CURIER_PURE=1: the core stays interpreted", file=sys.stderr)
        return []
    if not can_compile():
        print(
            "curier: no working C compiler or no Python headers here: the core stays interpreted (slower)",
            file=sys.stderr,
        )
        return []
    from mypyc.build import mypycify

    sources = sorted(
        str(path)
        for folder in CORE_FOLDERS
        for path in Path("src/curier", folder).glob("*.py")
        if path.name != "__init__.py"
    )
    sources += [str(Path("src/curier", name)) for name in TURN_FILES]
    # Of what the core does not use, nothing need be installed to build it, and nothing is checked here.
    quietly = ["--follow-imports=silent", "--ignore-missing-imports"]
    extensions = mypycify(
        [*quietly, *sources], opt_level="3", debug_level="0", strict_dunder_typing=True, group_name="curier"
    )
    for extension in extensions:
        # Nobody edits generated C to please a compiler, and nobody but the core calls its functions: what
        # is hidden from others can be inlined.
        extension.extra_compile_args = [*extension.extra_compile_args, "-w", "-fvisibility=hidden"]
    return cast("list[Extension]", extensions)


# Metadata alone is asked for far more often than a build, and needs no extensions.
BUILDS = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install", "develop"}
setup(
    cmdclass={"build": CleanBuild},
    ext_modules=core_extensions() if BUILDS & set(sys.argv) else [],
)
