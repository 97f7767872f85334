"""What a hook file defines, and what is said of one that is wrong."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from curier.auth import Authorizer
from curier.broker.hooks import Hook
from curier.errors import ConfigError
from curier.hook_files.reading import Defined, read

BEGIN = """\
from curier.auth import Authenticator, Authorizer, PasswordFile, Verdict
from curier.broker.hooks import Hook
"""


def read_text(tmp_path: Path, text: str) -> Defined:
    path = tmp_path / "own.py"
    path.write_text(BEGIN + dedent(text))
    return read(str(path))


def test_classes_are_called_and_objects_are_taken(tmp_path: Path) -> None:
    found = read_text(
        tmp_path,
        """
        class _Base(Hook):
            pass
        class First(_Base):
            pass
        class Second(_Base):
            def __init__(self, number): self.number = number
        second = Second(2)
        again = second
        third = Second(3)
        class Doors(Authenticator):
            async def authenticate(self, credentials): return Verdict(0)
        class Both(Hook, Authorizer):
            async def authorize(self, identity, client_id, action, topic, qos, retain): return Verdict(0)
        """,
    )
    assert [type(hook).__name__ for hook in found.hooks] == ["First", "Second", "Second", "Both"]
    assert [getattr(hook, "number", None) for hook in found.hooks] == [None, 2, 3, None]
    assert [type(one).__name__ for one in found.authenticators] == ["Doors"]
    assert [*found.authorizers] == [one for one in found.hooks if isinstance(one, Authorizer)] != []


def test_what_it_imports_is_not_called(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it defines no Hook, Authenticator or Authorizer"):
        read_text(tmp_path, "")


def test_a_file_is_a_module(tmp_path: Path) -> None:
    """Dataclasses ask for theirs; and it is read anew, whatever was compiled before."""
    text = """
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import ClassVar
        @dataclass
        class Mine(Hook):
            number: ClassVar[int] = %d
            other: int = 0
            where = __file__
    """
    path = tmp_path / "own.py"
    for number in (1, 2):
        path.write_text(dedent(text % number).replace("@dataclass", BEGIN + "@dataclass"))
        (hook,) = read(str(path)).hooks
        assert (vars(type(hook))["number"], vars(type(hook))["where"]) == (number, str(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("class A:::", 4, "invalid syntax"),
        (
            "x = 1\nimport nothing_of_that_name",
            5,
            "ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        ("def f(): return 1 / 0\nf()", 4, "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", 4, "SystemExit: 3"),
        ("\nclass A(Hook):\n    def __init__(self, x): pass", 5, "TypeError: .*missing 1 required .*'x'"),
        ("class A(Hook):\n    def __init__(self): self.x = y", 5, "NameError: name 'y' is not defined"),
        (
            "class A(Hook):\n    def on_publish(self, m): pass",
            5,
            r"A.on_publish must take \(connection, message\): .*",
        ),
        (
            "class A(Hook):\n    async def on_publish(self, c, m): pass",
            5,
            "A.on_publish is a coroutine function.*",
        ),
        ("class A(Authenticator): pass", 4, "TypeError: Can't instantiate abstract class A .*authenticate.*"),
        (
            "class A(Authenticator):\n    def authenticate(self, credentials): pass",
            5,
            "A.authenticate has to be a coroutine function: write async def authenticate",
        ),
        (
            "class A(Authenticator):\n    async def authenticate(self): pass",
            5,
            r"A.authenticate must take \(credentials\): too many positional arguments",
        ),
        (
            "class A(Authorizer):\n    async def authorize(self, identity, topic): pass",
            5,
            r"A.authorize must take \(identity, client_id, action, topic, qos, retain\): .*",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    before = set(sys.modules)
    with pytest.raises(ConfigError) as error:
        read_text(tmp_path, f"\n{text}\n")
    where = re.escape(f"{tmp_path / 'own.py'}, line {line}: ")
    assert re.fullmatch(where + said, str(error.value)), str(error.value)
    assert not {name for name in set(sys.modules) - before if "own" in name}


def test_what_is_no_python_at_all(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    with pytest.raises(ConfigError, match=r"own\.py: No such file or directory"):
        read(str(path))
    for text in (b"\xff", b"x = '\0'"):
        path.write_bytes(text)
        with pytest.raises(ConfigError, match=r"own\.py"):
            read(str(path))


def test_a_file_that_anybody_may_write_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "own.py"
    path.write_text(f"{BEGIN}class A(Hook): pass")
    for mode, lines in ((0o644, 0), (0o646, 1)):
        path.chmod(mode)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert isinstance(read(str(path)).hooks[0], Hook)
        assert caplog.text.count("may be written by every user") == lines
