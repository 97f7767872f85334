"""Rules that come from a file, and change with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from curier.broker.judging import Who
from curier.errors import ConfigError
from curier.permissions import rule_file
from curier.permissions.base import Rules
from curier.permissions.rule_file import RuleFile
from tests.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "acl"
    path.write_text("topic write a\n")
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)


def may(rules: Rules, topic: bytes) -> bool:
    return rules.rights(Who(None, "c")).may_publish(topic, 0, False)


def test_a_file_that_cannot_be_used_is_refused_with_its_line(path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"acl_dialect is mosquitto-2[.]1 or mosquitto-2[.]0, not 'vernemq'"
    ):
        RuleFile(path, dialect="vernemq")
    write(path, "topic write a\ntopics\n")
    with pytest.raises(ConfigError, match="acl, line 2: expected a line that begins with"):
        RuleFile(path)
    path.unlink()
    with pytest.raises(ConfigError, match="acl: there is no such file"):
        RuleFile(path)


def test_broken_rules_leave_those_before(path: Path) -> None:
    async def play() -> None:
        rules = RuleFile(path)
        write(path, "topics\n")
        with pytest.raises(ConfigError, match="line 1"):
            await rules.reload()
        assert may(rules.rules, b"a")
        write(path, "topic write b\n")
        await rules.reload()
        assert not may(rules.rules, b"a")
        assert may(rules.rules, b"b")

    asyncio.run(play())


def test_an_empty_file_allows_nothing(path: Path) -> None:
    write(path, "# nothing yet\n")
    assert not may(RuleFile(path).rules, b"a")


def test_a_change_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rule_file, "LOOK_INTERVAL", 0.001)

    async def play() -> None:
        rules = RuleFile(path)
        told: list[Rules] = []
        rules.start(told.append)
        write(path, "topics\n")
        await until(lambda: "acl, line 1: " in caplog.text)
        assert "the rules before this change stay valid" in caplog.text
        assert not told
        write(path, "topic write b\n")
        await until(lambda: bool(told))
        assert may(told[0], b"b")
        rules.stop()

    asyncio.run(play())
    assert caplog.text.count("line 1") == 1
