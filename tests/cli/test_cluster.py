"""``curier cluster``: on a window that says what the test wants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec import Struct
from msgspec.structs import replace

from curier.cli import cluster as command
from curier.cli import main
from curier.errors import MqttError
from curier.web import forms, table
from curier.web.client import ApiError
from curier.web.cluster_forms import Cluster, ClusterNode, ClusterStream, ClusterWrong, Drain
from curier.web.local import Local

WELL = Cluster(
    state="open",
    cluster="home",
    node="a",
    life=3,
    trusted_for=20.5,
    server="s1",
    version="2.15.1",
    sessions=12,
    claims=2,
    leaving=1,
    lag=5,
    log=130,
    held="node b: the session 's'",
    nodes=[ClusterNode("a", 3, "living", 1.5, True), ClusterNode("b", 1, "over", 400.0, False)],
    streams=[
        ClusterStream("HOME_SESSIONS", -1, 70, -1, 12, 4096, "s1", 3, []),
        ClusterStream("HOME_LOG_0", 120, 125, 5, 125, 9000, "s2", 3, ["s3"]),
        ClusterStream("HOME_LOG_1", 8, -1, -1, 0, 0, "", 0, []),
    ],
)
TABLE = """\
node a of the cluster home: open, in its life 3, s1, NATS 2.15.1
sessions 12, coming 2, leaving 1; trusted for 20.5 s more; entries not read 5
entries of the log 130, held by node b: the session 's'

node          life  is      lease renewed
a (this one)  3     living  1.5 s ago
b             1     over

stream         last  read  lag  leader  copies
HOME_SESSIONS  70               s1      3 of 3
HOME_LOG_0     125   120   5    s2      2 of 3
HOME_LOG_1     ?     8     ?    none    0 of 0

nothing is wrong
"""


class Window:
    """``answers`` in turn; one that is an error is raised. The last is given again."""

    def __init__(self, answers: Sequence[Struct | ApiError]) -> None:
        self.answers = [*answers]
        self.asked: list[tuple[str, Struct]] = []

    def __call__(self, local: Local) -> Window:
        return self

    def ask(self, operation: table.Operation[Any, Any], asked: Struct) -> Any:
        self.asked.append((operation.path, asked))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def close(self) -> None:
        pass


def run(patch: pytest.MonkeyPatch, words: str, *answers: Struct | ApiError) -> tuple[Result, Window]:
    window = Window(answers)
    for module in ("curier.cli.cluster", "curier.cli.admin"):
        patch.setattr(f"{module}.Api", window)
    patch.setattr("curier.cli.admin.only", lambda url: Local("http://here", "token", ""))
    patch.setattr(command, "LOOK_SECONDS", 0.0)
    return CliRunner().invoke(main, ["cluster", *words.split()]), window


def test_status_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(monkeypatch, "status", WELL)
    assert (result.exit_code, result.output) == (0, TABLE)


def test_workers_of_one_machine_have_no_nats() -> None:
    one = replace(WELL, sync="memory", cluster="workers", node="w-1", server="this machine", version="")
    assert command.lines(one)[0] == "worker w-1 of this machine: open, in its life 3, all in memory"


def test_what_is_wrong_stands_below_and_an_error_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    warned = Cluster(**{**fields(WELL), "wrong": [ClusterWrong(False, "b is silent", "see to it")]})
    result, _ = run(monkeypatch, "status", warned)
    assert result.exit_code == 0
    assert result.output.endswith("\nwarning: b is silent\n  see to it\n")
    bad = Cluster(**{**fields(WELL), "server": "", "wrong": [ClusterWrong(True, "no NATS", "start it")]})
    result, _ = run(monkeypatch, "status", bad)
    assert result.exit_code == 1
    assert "not connected to NATS" in result.output
    assert result.output.endswith("\nerror: no NATS\n  start it\n")


@pytest.mark.parametrize("state", ["not trusted", "draining", "over"])
def test_a_node_that_does_not_serve_is_an_exit_code(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    result, _ = run(monkeypatch, "status", Cluster(**{**fields(WELL), "state": state}))
    assert result.exit_code == 1


def test_status_is_json_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(monkeypatch, "status --json", WELL)
    assert json.loads(result.output)["nodes"][1]["standing"] == "over"
    assert result.exit_code == 0


def test_a_broker_that_is_alone_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(monkeypatch, "status", Cluster("none"))
    assert result.exit_code == 1
    assert result.stderr == "Error: this broker is alone: it was started without --cluster\n"


def test_drain_tells_how_it_goes_and_ends_when_the_node_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    some, fewer = (Cluster(**{**fields(WELL), "sessions": left}) for left in (12, 4))
    result, window = run(
        monkeypatch,
        "drain --server-reference b:1883 --permanent --per-second 7",
        forms.Done("node a gives 12 sessions up to b, and ends then"),
        some,
        some,
        fewer,
        ApiError(0, "refused"),
    )
    assert result.exit_code == 0
    assert window.asked[0] == ("/cluster/drain", Drain("b:1883", True, 7))
    said = result.output.splitlines()
    assert said[:3] == [
        "node a gives 12 sessions up to b, and ends then",
        "12 sessions are left",
        "4 sessions are left",
    ]
    assert said[3].startswith("it has gone, after ")


def test_drain_need_not_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result, window = run(monkeypatch, "drain --no-wait", forms.Done("it begins"))
    assert (result.exit_code, result.output) == (0, "it begins\n")
    assert len(window.asked) == 1


def test_drain_tells_programs_in_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(
        monkeypatch,
        "drain --json",
        forms.Done("it begins"),
        WELL,
        ApiError(503, "it stops"),
        ApiError(0, "refused"),
    )
    first, second, last = map(json.loads, result.output.splitlines())
    assert (first, second) == ({"done": "it begins"}, {"sessions": 12})
    assert last["gone"] is True


def test_a_node_within_a_program_that_goes_on_has_gone_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "END_SECONDS", 0.0)
    result, _ = run(monkeypatch, "drain", forms.Done("it begins"), ApiError(503, "it stops"))
    assert result.exit_code == 0
    assert "it has gone" in result.output


@pytest.mark.parametrize("status", [0, 403, 409, 503])
def test_a_node_that_refuses_or_is_not_there_is_told_of(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    result, _ = run(monkeypatch, "drain", ApiError(status, "no other node lives"))
    assert result.exit_code == 1
    assert result.stderr == "Error: no other node lives\n"


def test_a_window_that_refuses_meanwhile_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(monkeypatch, "drain", forms.Done("it begins"), ApiError(401, "the token is not known"))
    assert result.exit_code == 1
    assert "gone" not in result.output


def test_without_a_broker_here_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(url: str | None) -> Local:
        raise MqttError("no broker of this user has a window here")

    run(monkeypatch, "status", WELL)
    monkeypatch.setattr("curier.cli.admin.only", none)
    result = CliRunner().invoke(main, ["cluster", "status"])
    assert result.exit_code == 1
    assert "no broker of this user" in result.stderr


def test_check_wants_to_know_which_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CURIER_CLUSTER", raising=False)
    result = CliRunner().invoke(main, ["cluster", "check"])
    assert result.exit_code == 2
    assert "--cluster nats://10.0.0.1,10.0.0.2,10.0.0.3" in result.stderr
    result = CliRunner().invoke(main, ["cluster", "check", "--cluster", "http://n1"])
    assert result.exit_code == 2


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warning", 0), ("error", 1)])
def test_what_check_finds_is_an_exit_code(monkeypatch: pytest.MonkeyPatch, level: str, code: int) -> None:
    async def found(settings: object, free: int) -> list[Any]:
        assert free == 2 << 30
        return [Found(level, "s1: it is so", "" if level == "ok" else "do that")]

    monkeypatch.setattr(command, "_check", found)
    words = ["cluster", "check", "--cluster", "nats://n1", "--free", "2 GiB"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code
    assert result.output == f"{level}: s1: it is so\n" + ("" if level == "ok" else "  do that\n")
    result = CliRunner().invoke(main, [*words, "--json"])
    assert json.loads(result.output)[0]["level"] == level


class Found:
    def __init__(self, level: str, what: str, advice: str) -> None:
        self.level, self.what, self.advice = level, what, advice

    def _asdict(self) -> dict[str, str]:
        return dict(vars(self))


def fields(struct: Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
