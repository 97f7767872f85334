"""``curier acl``: yes or no, by which rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from curier.cli import main


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(main, [*map(str, ("acl", *arguments))], env=environment)


@pytest.fixture
def acl(tmp_path: Path) -> Path:
    path = tmp_path / "acl"
    path.write_text(
        "[[rule]]\ndeny = 'retain'\ntopics = 'a/#'\n"
        "[[rule]]\nusers = 'ana'\nqos = [0, 1]\nallow = 'all'\ntopics = ['a/#', '{client_id}']\n"
        "[[rule]]\ngroups = 'g'\naddresses = '10.0.0.0/8'\nallow = 'read'\ntopics = '{claims.x}/{cn}'\n"
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ("--user ana publish a/b", 0, "yes: ACL, line 4: allow publish"),
        ("--user ana --qos 2 publish a/b", 1, "no: ACL: no rule allows it\n"),
        ("--user ana --retain publish a/b", 1, "no: ACL, line 1: deny retain: a/#\n"),
        ("--user ana --client-id c publish c", 0, "yes: "),
        ("publish a/b", 1, "no: ACL: no rule allows it\n"),
        ("--user ana subscribe $share/g/a/#", 0, "yes: "),
        ("--user ana subscribe #", 1, "no: "),
        ("--group g --claim x=1 --cn y --address 10.0.0.1 receive 1/y", 0, "yes: ACL, line 9: "),
        ("--group g --claim x=1 --cn y --address ::ffff:10.0.0.1 receive 1/y", 0, "yes: ACL, line 9: "),
        ("--group g --claim x=1 --cn y --address 11.0.0.1 receive 1/y", 1, "no: "),
    ],
)
def test_a_question_has_an_answer(acl: Path, arguments: str, code: int, expected: str) -> None:
    result = run("test", "--acl-file", acl, *arguments.split())
    assert result.output.replace(str(acl), "ACL").startswith(expected)
    assert result.exit_code == code


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("publish a/#", "a Topic Name must not contain the wildcard"),
        ("subscribe a#", "Invalid value for TOPIC"),
        ("--retain receive a", "--retain is about a message"),
        ("--claim x receive a", "expected NAME=VALUE, got 'x'"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(acl: Path, arguments: str, expected: str) -> None:
    result = run("test", "--acl-file", acl, *arguments.split())
    assert result.exit_code == 2
    assert expected in result.output


def test_the_rules_may_be_those_of_a_configuration(acl: Path, tmp_path: Path) -> None:
    config = tmp_path / "broker.toml"
    config.write_text('acl_file = "acl"\n')
    assert run("test", "--config", config, "--user", "ana", "publish", "a").exit_code == 0
    assert run("test", "--user", "ana", "publish", "a", CURIER_ACL_FILE=str(acl)).exit_code == 0
    result = run("test", "publish", "a")
    assert result.exit_code == 2
    assert "which rules?" in result.output


def test_the_dialect_may_be_chosen(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("pattern write x%c\n")
    question = ("--acl-file", acl, "--client-id", "c", "publish", "xc")
    assert run("test", *question).exit_code == 1
    assert run("test", "--acl-dialect", "mosquitto-2.0", *question).exit_code == 0


def test_rules_that_are_wrong_are_named(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topics\n")
    result = run("test", "--acl-file", acl, "publish", "a")
    assert result.exit_code == 2
    assert f"{acl}, line 1: expected a line" in result.output


def test_a_user_is_told_its_rules(acl: Path) -> None:
    result = run("explain", "--acl-file", acl, "ana")
    assert result.exit_code == 0
    assert [line.replace(str(acl), "ACL").split(":")[0] for line in result.stdout.splitlines()] == [
        "ACL, line 1",
        "ACL, line 4",
    ]
    assert "what none of these allows is denied" in result.stderr
