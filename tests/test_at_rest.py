"""What ``curier broker`` has loaded while nobody has come yet: of that its memory at rest is made."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import curier.__main__
import curier.cli
from curier.unloaded import Unloaded
main = curier.cli.main
async def until(broker, told_to_stop):
    print("LOADED", *(name for name, module in sys.modules.items() if not isinstance(module, Unloaded)))
def begin(**_):
    import curier.cli.serve
    curier.cli.serve._until = until
    main(["broker", "--memory", "--listen", "tcp://127.0.0.1:0", "--web", "http://127.0.0.1:0"])
curier.cli.main = begin
curier.__main__.run()
"""

THIRD_PARTY = {"click", "librt", "mypy_extensions"}
"""All that is not Python's or ours."""

NOT_YET = {
    *("starlette", "uvicorn", "h11", "anyio", "msgspec"),  # the window, before the first request
    *("apsw", "sqlite3", "argon2", "cryptography"),  # the store has a process of its own
    *("hashlib", "hmac", "secrets", "random", "shutil", "tempfile", "encodings.idna"),
    *("email", "http", "html", "xml", "urllib.request", "multiprocessing"),
    *("ssl", "_ssl", "asyncio.sslproto", "unicodedata"),  # where nothing is encrypted
    *("decimal", "difflib", "argparse", "tomllib", "importlib.metadata", "pdb", "unittest"),
}
"""Each of these is heavy, and was loaded once without need."""

PACKAGES = {
    "auth": {"base", "chain", "bans", "at_doors", "text_file"},
    "permissions": {"base", "dialects", "rule_file", "tree"},
    "store": {"base"},
    "trace": {
        *("choice", "events", "following", "lines", "mishaps", "reading", "recorder", "secrets", "serving"),
        *("traced", "watching", "past", "rewinding", "framing"),  # what went by last is always kept
    },
    "web": {
        *("binding", "history", "identity", "keeper", "local", "people", "refusal", "roles", "server", "tls"),
        "tokens",
    },
    **{name: set() for name in ("client", "loadgen", "proxy", "faults", "tour", "testing", "acme")},
}
"""Of these packages of ours, no more than that."""


@pytest.fixture(scope="module")
def modules() -> set[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    found = done.stdout.partition("LOADED ")[2].split()
    assert "curier.broker.core" in found, done.stderr
    return {*found}


def test_the_process_of_the_store_has_no_more_than_it_needs() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = "import sys, curier.store.process; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert "curier.store.database" in done.stdout, done.stderr
    assert {*done.stdout.split()} & ((NOT_YET - {"apsw"}) | {"asyncio", "click"}) == set()


def test_what_is_heavy_is_not_loaded(modules: set[str]) -> None:
    assert modules & NOT_YET == set()


def test_of_others_next_to_nothing_is_loaded(modules: set[str]) -> None:
    others = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - THIRD_PARTY
    hidden = {name for name in others if name.startswith("_") or name.endswith("__mypyc")}
    assert others - hidden == {"curier"}


def test_of_ours_no_more_than_is_needed(modules: set[str]) -> None:
    for package, may in PACKAGES.items():
        there = {name.split(".")[2] for name in modules if name.startswith(f"curier.{package}.")}
        assert there - may == set(), package
