"""docs/testing.md: the tests on it pass, all together, with the plugin."""

from __future__ import annotations

from pathlib import Path

from tests.test_docs import ROOT, blocks
from tests.testing.test_plugin import ASYNCIO, run

WORDS = ("-p", ASYNCIO, "-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function")


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    pieces = blocks((ROOT / "docs" / "testing.md").read_text(), "python")
    text = "\n".join(["import pytest", *pieces])
    told = run(tmp_path, text, *WORDS)
    assert f"{text.count('def test_')} passed" in told, told
