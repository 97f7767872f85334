"""``curier pub`` and ``curier sub`` with a broker, each to its end."""

from __future__ import annotations

import json
import socket
import uuid
from pathlib import Path

import pytest

from tests.cli.conftest import BrokerThread, Curier
from tests.waiting import in_longer

QUICK = ("-W", "100")
"""No test waits for ever."""


@pytest.fixture
def topic() -> str:
    """A Topic Name that no other test uses."""
    return f"test/{uuid.uuid4().hex}"


@pytest.fixture
def session(curier: Curier, topic: str) -> tuple[str, ...]:
    """Options of a session that has subscribed to the topic and what is below it, and is away."""
    options = ("-c", "-i", uuid.uuid4().hex, "-t", f"{topic}/#", "-q", "2", *QUICK)
    assert curier("sub", *options, "-E").exit_code == 0
    return options


# -- pub --


@pytest.mark.parametrize("version", ["5", "311", "31"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_goes_out_and_comes_in(curier: Curier, topic: str, version: str, qos: int) -> None:
    out = curier("pub", "-V", version, "-t", topic, "-m", "hä", "-q", qos, "-r")
    assert (out.exit_code, out.stdout, out.stderr) == (0, "", "")
    come = curier("sub", "-V", version, "-t", topic, "-q", qos, "-C", 1, "-F", "%t %q %r %p", *QUICK)
    assert (come.exit_code, come.stdout, come.stderr) == (0, f"{topic} {qos} 1 hä\n", "")


def test_a_payload_comes_from_where_one_says(
    curier: Curier, topic: str, session: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"a\xff\n")
    assert curier("pub", "-t", topic, "-q", 1, "-f", file).exit_code == 0
    assert curier("pub", "-t", topic, "-q", 1, "-s", stdin=b"b\nc\n").exit_code == 0
    assert curier("pub", "-t", topic, "-q", 1, "-n").exit_code == 0
    assert curier("pub", "-t", topic, "-q", 1, "-m", "00ff", "--encode", "hex").exit_code == 0
    assert curier("pub", "-L", f"mqtt://127.0.0.1:%d/{topic}" % 1, "-m", "x").exit_code == 1
    come = curier("sub", *session, "-C", 4, "-F", "%x")
    assert come.stdout == "61ff0a\n620a630a\n\n00ff\n"


@pytest.mark.parametrize("qos", [1, 2])
def test_lines_come_in_their_order(
    curier: Curier, topic: str, session: tuple[str, ...], qos: int, tmp_path: Path
) -> None:
    lines = "".join(f"{number}\n" for number in range(2000))
    file = tmp_path / "lines"
    file.write_text(lines)
    assert curier("pub", "-t", topic, "-q", qos, "-l", stdin=lines.encode()).exit_code == 0
    assert curier("pub", "-t", topic, "-q", qos, "-l", "-f", file, "-M", 7).exit_code == 0
    come = curier("sub", *session, "-C", 4000)
    assert come.stdout == lines * 2


@pytest.mark.parametrize("how", [[], ["--repeat-delay", "0.001"], ["--rate", "100000"]])
def test_a_message_is_repeated(curier: Curier, topic: str, session: tuple[str, ...], how: list[str]) -> None:
    assert curier("pub", "-t", topic, "-q", 1, "-m", "x", "--repeat", 5, *how).exit_code == 0
    assert curier("pub", "-t", topic, "-q", 1, "-m", "end").exit_code == 0
    assert curier("sub", *session, "-C", 6).stdout == "x\n" * 5 + "end\n"


def test_properties_arrive(curier: Curier, topic: str, session: tuple[str, ...]) -> None:
    words = (
        *("-D", "publish", "user-property", "a", "1", "--user-property", "a", "2"),
        *("--content-type", "text/plain", "--response-topic", "re", "--correlation-data", "cd"),
        *("--message-expiry", "600", "--text"),
    )
    assert curier("pub", "-t", topic, "-q", 1, "-m", "x", *words).exit_code == 0
    told = json.loads(curier("sub", *session, "-C", 1, "--json").stdout)["properties"]
    assert 0 < told.pop("message-expiry-interval") <= 600
    assert told == {
        "payload-format-indicator": 1,
        "content-type": "text/plain",
        "response-topic": "re",
        "correlation-data": "cd",
        "user-properties": {"a": "2"},
    }
    assert curier("pub", "-t", topic, "-q", 1, "-m", "x", *words).exit_code == 0
    assert curier("sub", *session, "-C", 1, "-F", "%P").stdout == "a:1 a:2\n"


def test_what_was_printed_as_json_can_be_published_again(
    curier: Curier, topic: str, session: tuple[str, ...]
) -> None:
    curier("pub", "-t", f"{topic}/a", "-q", 2, "-s", "--content-type", "x", stdin=b"\xff\0")
    properties = ("--user-property", "k", "v", "--user-property", "k", "w")
    curier("pub", "-t", f"{topic}/b", "-q", 1, "-m", "[1, 2]", *properties)
    first = curier("sub", *session, "-C", 2, "--json").stdout
    assert curier("pub", "-l", "--json", stdin=first.encode()).exit_code == 0
    again = curier("sub", *session, "-C", 2, "--json").stdout

    def told(lines: str) -> list[dict[str, object]]:
        """But for the time, and who counts."""
        return [
            {**dict(json.loads(line, object_pairs_hook=list)), "tst": 0, "mid": 0}
            for line in lines.splitlines()
        ]

    assert told(again) == told(first)
    assert [one["payloadlen"] for one in told(first)] == [2, 6]
    assert told(first)[1]["properties"] == [("user-properties", [("k", "v"), ("k", "w")])]


def test_a_line_that_is_wrong_ends_it(curier: Curier, topic: str) -> None:
    result = curier("pub", "-t", topic, "-l", "--encode", "hex", stdin=b"00\n0\n")
    assert result.exit_code == 2
    assert result.stderr == "Error: line 2 is not hex: expected pairs of the digits 0 to 9 and a to f\n"


# -- sub --


def test_topics_are_left_out(curier: Curier, topic: str, session: tuple[str, ...]) -> None:
    for name in ("a/x", "b/x", "c"):
        curier("pub", "-t", f"{topic}/{name}", "-q", 1, "-m", name)
    come = curier("sub", *session, "-C", 1, "-T", f"{topic}/a/#", "-T", f"{topic}/+/x")
    assert come.stdout == "c\n"


def test_what_is_not_printed_stays_in_the_session(
    curier: Curier, topic: str, session: tuple[str, ...]
) -> None:
    curier("pub", "-t", topic, "-q", 1, "-l", stdin=b"1\n2\n3\n")
    assert [curier("sub", *session, "-C", 1).stdout for _ in range(3)] == ["1\n", "2\n", "3\n"]


def test_a_subscription_of_the_session_ends(curier: Curier, topic: str, session: tuple[str, ...]) -> None:
    other = (*session[:3], "-t", f"{topic}-other", "-q", "1", *QUICK)
    assert curier("sub", *session[:3], "-U", f"{topic}/#", *QUICK).exit_code == 0
    assert curier("sub", *other, "-E").exit_code == 0
    curier("pub", "-t", topic, "-q", 1, "-m", "not subscribed to")
    curier("pub", "-t", f"{topic}-other", "-q", 1, "-m", "subscribed to")
    assert curier("sub", *other, "-C", 1).stdout == "subscribed to\n"


def test_properties_of_the_subscription(curier: Curier, topic: str) -> None:
    curier("pub", "-t", topic, "-m", "x", "-r")
    words = ("-D", "subscribe", "subscription-identifier", 7, "-D", "subscribe", "user-property", "k", "v")
    assert curier("sub", "-t", topic, *words, "-C", 1, "-F", "%S %p", *QUICK).stdout == "7 x\n"


def test_a_goodbye_may_end_the_session(curier: Curier, topic: str, session: tuple[str, ...]) -> None:
    result = curier("sub", *session, "-E", "-D", "disconnect", "session-expiry-interval", 0)
    assert (result.exit_code, result.stderr) == (0, "")
    told = curier("sub", *session, "-E", "-d").stderr
    assert "with a new session" in told


def test_time_is_up(curier: Curier, topic: str) -> None:
    curier("pub", "-t", topic, "-m", "x", "-r")
    result = in_longer(
        lambda seconds: curier("sub", "-t", topic, "-W", seconds), lambda one: one.stdout != ""
    )
    assert (result.exit_code, result.stdout, result.stderr) == (27, "x\n", "Timed out\n")
    assert curier("sub", "-t", topic, "-W", "0.3", "--quiet").stderr == ""


def test_retained_messages_alone(curier: Curier, topic: str, session: tuple[str, ...]) -> None:
    curier("pub", "-t", f"{topic}/a", "-m", "old", "-q", 1, "-r")
    live = curier("sub", *session, "-R", "-C", 1)  # for the session it is news
    assert (live.exit_code, live.stdout) == (0, "old\n")
    kept = curier("sub", "-t", f"{topic}/#", "--retained-only", "-C", 1, *QUICK)
    assert (kept.exit_code, kept.stdout) == (0, "old\n")
    fresh = curier("sub", "-t", f"{topic}/#", "-R", "-W", "0.3")
    assert (fresh.exit_code, fresh.stdout) == (27, "")


def test_the_first_message_that_is_not_retained_ends_it(
    curier: Curier, topic: str, session: tuple[str, ...]
) -> None:
    curier("pub", "-t", topic, "-q", 1, "-l", stdin=b"1\n2\n")
    result = curier("sub", *session, "--retained-only")
    assert (result.exit_code, result.stdout) == (0, "")


def test_retained_messages_are_removed(curier: Curier, topic: str) -> None:
    names = sorted(f"{topic}/{number}" for number in range(250))
    for name in (*names, f"{topic}/keep"):
        curier("pub", "-t", name, "-m", "x", "-r")
    result = curier(
        "sub", "-t", f"{topic}/#", "-T", f"{topic}/keep", "--remove-retained", "--retained-only", "-F", "%t"
    )
    assert result.exit_code == 0
    assert sorted(result.stdout.split()) == names
    kept = in_longer(
        lambda seconds: curier("sub", "-t", f"{topic}/#", "-v", "-W", seconds), lambda one: one.stdout != ""
    )
    assert kept.stdout == f"{topic}/keep x\n"


@pytest.mark.parametrize("words", [("--decode", "json"), ("-F", "%J")])
def test_a_payload_that_cannot_be_read_is_told_and_counted(
    curier: Curier, topic: str, session: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """-C is of messages, as with mosquitto_sub: a script that wants one is not to wait for ever."""
    curier("pub", "-t", topic, "-q", 1, "-l", stdin=b"{\n1e400\n[1]\n")
    for _ in range(2):
        result = curier("sub", *session, "-C", 1, *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: the message on {topic} is not JSON: ")
    result = curier("sub", *session, "-C", 1, *words)
    assert (result.exit_code, result.stderr, "[1]" in result.stdout) == (0, "", True)


def test_debug_says_on_stderr_what_happens(curier: Curier, broker: BrokerThread, topic: str) -> None:
    result = curier("pub", "-t", topic, "-m", "x", "-q", 1, "-i", "gw", "-d")
    url = f"mqtt://localhost:{broker.port}"
    assert result.stdout == ""
    assert f"connected to {url} as gw, MQTT 5.0, with a new session\n" in result.stderr
    assert f"published to {topic}: 0x10" in result.stderr


def test_a_profile_says_where(curier: Curier, broker: BrokerThread, topic: str, tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    file.write_text(f'[profile.here]\nurl = "mqtt://127.0.0.1:{broker.port}"\nqos = 1')
    result = curier("pub", "--config", file, "--profile", "here", "-t", topic, "-m", "x", "-d")
    assert result.exit_code == 0
    assert f"published to {topic}: 0x10" in result.stderr


# -- what goes wrong --


@pytest.mark.parametrize("command", [["pub", "-m", "x"], ["sub"], ["rr", "-m", "x"]])
def test_no_server_is_told(curier: Curier, topic: str, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = curier(*command, "-t", topic, "-h", "127.0.0.1", "-p", port)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: cannot connect to mqtt://127.0.0.1:{port}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pub", "-m", "x"], "where to? Give a topic: -t TOPIC"),
        (["pub", "-t", "a"], "what to send? -m TEXT, -f FILE, -l (the lines of stdin)"),
        (["pub", "-t", "a", "-m", "x", "-n"], "-m and -n cannot both be"),
        (["pub", "-t", "a", "-l", "--repeat", "2"], "--repeat is for one message, -l for many"),
        (["pub", "-t", "a", "-m", "x", "--rate", "1", "--repeat-delay", "1"], "cannot both be"),
        (["pub", "-t", "a", "-m", "x", "--json"], "--json is for lines: give -l as well"),
        (["pub", "-l", "--json", "--encode", "hex"], "--encode has no use beside it"),
        (["pub", "-t", "a", "-m", "x", "-q", "3"], "3 is not in the range 0<=x<=2"),
        (["pub", "-t", "a", "-f", "/none"], "File '/none' does not exist"),
        (["pub", "-t", "a", "-m", "0", "--encode", "hex"], "-m is not hex"),
        (["pub", "-L", "mqtt://localhost/a", "-t", "b", "-m", "x"], "-t and the URL both name a topic"),
        (["pub", "-L", "http://localhost", "-t", "a", "-m", "x"], "did you mean ws://?"),
        (
            ["pub", "-t", "a", "-m", "x", "--text", "-D", "publish", "payload-format-indicator", "1"],
            "as well",
        ),
        (["sub"], "to what? Give a Topic Filter: -t FILTER"),
        (["sub", "-t", "a", "-U", "a"], "-t and -U both name a"),
        (["sub", "-t", "a", "-F", "%z"], "-F: there is no sequence %z"),
        (["sub", "-t", "a", "-F", "%t", "--json"], "--json and -F cannot both be"),
        (["sub", "-t", "a", "-R", "--retained-only"], "nothing would be left"),
        (["sub", "-t", "a", "-W", "0"], "expected more than 0 seconds"),
        (["rr", "-t", "a"], "what to send? -m TEXT, -f FILE, -s"),
        (["rr", "-t", "a", "-m", "x", "-e", "a/#"], "--response-topic 'a/#': a Topic Name must not contain"),
        (["pub", "-t", "a", "-m", "x", "-m", "y"], "-m is there 2 times"),
        (["pub", "-t", "a", "-f", __file__, "-f", __file__], "-f is there 2 times"),
        (["pub", "-t", "a", "-t", "b", "-m", "x"], "-t is there 2 times"),
        (["pub", "-t", "", "-m", "x"], "-t '': a Topic Name must be at least one character long"),
        (["pub", "-t", "a\udcff", "-m", "x"], "-t: a topic is written in UTF-8"),
        (["pub", "-t", "a", "-m", "x", "-D", "publish", "response-topic", "+"], "--response-topic '+'"),
        (["pub", "-t", "a", "-m", "x", "--will-topic", "#"], "--will-topic '#'"),
        (["sub", "-t", "a", "-T", "a#"], "-T 'a#': a wildcard character must occupy an entire level"),
        (["sub", "-U", "#/a"], "-U '#/a': '#' must be the last"),
        (["sub", "-t", "$share//a"], "-t '$share//a': the ShareName"),
    ],
)
def test_what_cannot_be_is_told_with_exit_code_2(curier: Curier, words: list[str], said: str) -> None:
    result = curier(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["sub", "rr"])
def test_the_time_covers_connecting(curier: Curier, command: str) -> None:
    """To a server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        more = ["-m", "x", "-e", "b"] if command == "rr" else []
        result = curier(command, "-t", "a", *more, "-h", "127.0.0.1", "-p", port, "-W", "0.2")
    assert (result.exit_code, result.stdout, result.stderr) == (27, "", "Timed out\n")


def test_a_connection_comes_from_where_it_should(curier: Curier) -> None:
    assert curier("pub", "-t", "a", "-m", "x", "-q", 1, "-A", "127.0.0.1").exit_code == 0
    result = curier("pub", "-t", "a", "-m", "x", "-A", "192.0.2.1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert " from 192.0.2.1: " in result.stderr
    assert curier("pub", "-t", "a", "-m", "x", "-h", "x", "--unix", "x", "-A", "127.0.0.1").exit_code == 2


def test_a_topic_that_cannot_be_is_told(curier: Curier) -> None:
    for words in (["pub", "-t", "a/#", "-m", "x"], ["sub", "-t", "a/#/b"]):
        result = curier(*words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: -t 'a/#" in result.stderr
