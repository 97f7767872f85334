"""Compile the five core folders, and the turn that drives them, with mypyc, where a C compiler is at hand.

The same sources run compiled and interpreted. `CURIER_PURE=1` asks for the interpreted form; a machine
that cannot build C extensions gets it too, and is told so in one line. What is being done is said on standard
error.
"""

import json
import os
import re
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path
from shutil import rmtree
from typing import Any, cast

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.dist import Distribution

CORE_FOLDERS = ("codec", "topics", "session", "protocol", "broker")
TURN_FILES = (
    "net/accepting.py",
    "net/clock.py",
    "net/frames.py",
    "net/layer.py",
    "net/layers.py",
    "net/passage.py",
    "net/reactor.py",
    "net/selector.py",
    "net/tape.py",
    "net/tls.py",
    "net/turn.py",
    "net/web.py",
    "net/wire.py",
)
# What is done for a connection, a subscription or an hour rather than for each message. It is a C file of its
# own, optimized less, and compiled while the other one is: that one is better left whole, since a function is
# inlined only within its file.
SELDOM = (
    "broker/attaching.py",
    "broker/connack.py",
    "broker/connecting.py",
    "broker/effects.py",
    "broker/hooks.py",
    "broker/keeping.py",
    "broker/leftovers.py",
    "broker/options.py",
    "broker/piecemeal.py",
    "broker/rejudging.py",
    "broker/restoring.py",
    "broker/roaming.py",
    "broker/subscribing.py",
    "broker/sys_topics.py",
    "codec/constants.py",
    "codec/reasons.py",
    "codec/subscribe.py",
    "protocol/client.py",
    "protocol/client_alive.py",
    "protocol/events.py",
    "session/restoring.py",
    "topics/filters.py",
)
OFTEN_FILE, SELDOM_FILE = "often", "seldom"
# What runs only when a module is imported: in one place, and small. Scattered it would bring 0.7 MiB of the
# pages around it into a broker at rest.
AT_IMPORT = re.compile(
    r"^(char CPyDef_\w+_____top_level__\(void\)|(?:static )?int CPyExec_\w+\(PyObject \*\w*\))", re.M
)
AT_IMPORT_MACRO = """#if defined(__GNUC__) && defined(__ELF__)
#define AT_IMPORT __attribute__((cold, section(".text.startup")))
#else
#define AT_IMPORT
#endif
struct _object; /* PyObject, before any file has included Python.h, each as it needs it */
"""
TRIAL = "#include <Python.h>\nPyMODINIT_FUNC PyInit_trial(void) { return PyLong_FromLong(0); }\n"


BEGAN = time.monotonic()


def say(what: str) -> None:
    """Say what is being done, and when it began."""
    print(f"curier: {time.monotonic() - BEGAN:4.0f} s: {what}", file=sys.stderr, flush=True)


def count_jobs() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class CleanBuild(build):
    """A build that begins empty: no module of an earlier form or of a removed source slips in."""

    def run(self) -> None:
        rmtree(self.build_lib, ignore_errors=True)
        super().run()


class ParallelBuild(build_ext):
    """A build that keeps all processors busy: of several extensions, and of the files of one."""

    def build_extensions(self) -> None:
        """Build, saying what."""
        jobs = self.parallel = count_jobs()
        one_after_the_other = self.compiler.compile

        def compile_at_once(sources: list[str], **options: Any) -> list[str]:
            def compile_one(source: str) -> list[str]:
                more = ["-O2"] if Path(source).stem == SELDOM_FILE else []
                postargs = [*(options["extra_postargs"] or []), *more]
                return list(one_after_the_other([source], **{**options, "extra_postargs": postargs}))

            with ThreadPoolExecutor(jobs) as pool:
                return [made for objects in pool.map(compile_one, sources) for made in objects]

        self.compiler.compile = compile_at_once
        if self.extensions:
            say(f"compiling C, {jobs} jobs at once; this takes most of the time ...")
        super().build_extensions()
        say("compiled")


class Wheel(bdist_wheel):
    """A wheel that says what is in it besides Python (PEP 770): the libraries of the pages, if they are."""

    def egg2dist(self, egginfo_path: str, distinfo_path: str) -> None:
        """Write its metadata."""
        super().egg2dist(egginfo_path, distinfo_path)
        libraries = run_path("src/curier/web/libraries.py")
        if not libraries["missing"](Path("src/curier/web/pages/lib")):
            bill = Path(distinfo_path, "sboms", "pages.cdx.json")
            bill.parent.mkdir()
            bill.write_text(json.dumps(libraries["bill_of_materials"](), indent=1))


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


def join_files(extension: Extension) -> None:
    """Make two C files of mypyc's one for each module."""
    groups: dict[str, list[str]] = {OFTEN_FILE: [], SELDOM_FILE: []}
    seldom = {f"__native_curier___{name[:-3].replace('/', '___')}.c" for name in SELDOM}
    paths = [Path(source) for source in extension.sources]
    folder = paths[0].parent
    for path in paths:
        groups[SELDOM_FILE if path.name in seldom else OFTEN_FILE].append(path.relative_to(folder).as_posix())
    # mypyc's own runtime first: its functions are inlined too.
    groups[OFTEN_FILE].sort(key=lambda name: name.startswith("__native"))
    for stem, names in groups.items():
        found = {
            name for path in names for name in AT_IMPORT.findall((folder / path).read_text(encoding="utf-8"))
        }
        declared = [f"{name.replace('PyObject', 'struct _object')} AT_IMPORT;\n" for name in sorted(found)]
        included = [f'#include "{name}"\n' for name in names]
        (folder / f"{stem}.c").write_text("".join([AT_IMPORT_MACRO, *declared, *included]))
    extension.sources = [str(folder / f"{stem}.c") for stem in groups]


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
    say("translating the core to C ...")
    from mypyc.build import mypycify

    sources = sorted(
        str(path)
        for folder in CORE_FOLDERS
        for path in Path("src/curier", folder).glob("*.py")
        if path.name != "__init__.py"
    )
    sources += [str(Path("src/curier", name)) for name in TURN_FILES]
    # Of what the core does not use, nothing need be installed to build it, and nothing is checked here.
    quietly = ["--follow-imports=silent", "--ignore-missing-imports", "--no-warn-return-any"]
    extensions = mypycify(
        [*quietly, *sources],
        opt_level="3",
        debug_level="0",
        strict_dunder_typing=True,
        group_name="curier",
        multi_file=True,
    )
    join_files(cast("Extension", extensions[0]))
    for extension in extensions if sys.platform != "win32" else []:
        # Nobody edits generated C to please a compiler, and nobody but the core calls its functions: what
        # is hidden from others can be inlined.
        extension.extra_compile_args = [*extension.extra_compile_args, "-w", "-fvisibility=hidden"]
    return cast("list[Extension]", extensions)


def long_description(readme: str, urls: dict[str, str]) -> str:
    """README.md for where there are no files beside it: links to files lead to the address of the sources.

    Where the project has no such address (``project.urls.Source``), a link is only its text.
    """
    source = urls.get("Source", "").rstrip("/")
    if source:
        return re.sub(r"\]\((?!https?:|#)([^)]+)\)", rf"]({source}/blob/HEAD/\1)", readme)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)[^)]+\)", r"\1", readme)


PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]

# Metadata alone is asked for far more often than a build, and needs no extensions.
BUILDS = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install", "develop"}
setup(
    cmdclass={"build": CleanBuild, "build_ext": ParallelBuild, "bdist_wheel": Wheel},
    long_description=long_description(Path("README.md").read_text(encoding="utf-8"), PROJECT.get("urls", {})),
    long_description_content_type="text/markdown",
    ext_modules=core_extensions() if BUILDS & set(sys.argv) else [],
)
