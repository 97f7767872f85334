"""Modules that may be imported without being loaded are the modules themselves, as soon as anybody looks."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def said(program: str, *path: str) -> list[str]:
    """What a program prints, in words; it has the module of before itself."""
    head = f"""
import sys
sys.path[:0] = {[*path, *filter(None, sys.path)]}
from curier.unloaded import TLS, put_off
"""
    command = [sys.executable, "-c", head + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_asyncio_is_imported_without_tls_and_has_it_when_it_is_asked_for() -> None:
    program = """
        put_off(*TLS)
        import asyncio
        import ssl
        print("_ssl" in sys.modules)
        print(issubclass(ssl.SSLCertVerificationError, OSError), "_ssl" in sys.modules)
        print(type(ssl).__name__, asyncio.base_events.sslproto.SSLProtocol.__name__)
        import importlib
        print(importlib.import_module("ssl") is ssl, hasattr(ssl, "nothing"))
        """
    assert said(program) == "False True True module SSLProtocol True False".split()


def test_what_is_loaded_already_stays_and_what_is_not_there_is_not_found() -> None:
    program = """
        import ssl
        put_off(*TLS, "no_such_module", "no_such_package.part")
        import asyncio
        print(type(ssl).__name__, sys.modules["ssl"] is ssl)
        try:
            import no_such_module
        except ModuleNotFoundError as error:
            print(error.name)
        """
    assert said(program) == ["module", "True", "no_such_module"]


def test_several_threads_load_it_once_and_see_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('loaded')\ntime.sleep(0.3)\nlast = 'whole'\n")
    program = """
        from threading import Thread
        put_off("slow")
        import slow
        threads = [Thread(target=lambda: print(slow.last + '\\n', end='')) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """
    assert said(program, str(tmp_path)) == ["loaded", *["whole"] * 4]


def test_one_that_cannot_be_loaded_says_so_each_time(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ImportError('cannot')\n")
    program = """
        put_off("broken")
        import broken
        for _ in range(2):
            try:
                broken.part
            except ImportError as error:
                print(error)
        """
    assert said(program, str(tmp_path)) == ["cannot", "cannot"]
