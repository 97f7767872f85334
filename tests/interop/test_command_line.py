"""``curier pub``, ``sub`` and ``rr`` beside mosquitto_pub, mosquitto_sub and mosquitto_rr: the same options,
the same bytes on standard output. The pages say where the two differ: docs/command-line.md.
"""

import json
from pathlib import Path

import pytest

from curier import Message, QoS
from tests.interop.commands import TIMES, Commands
from tests.waiting import in_longer

MESSAGES = (
    Message("a/one", b'{"a": [1, 2.5, null]}', QoS(1), payload_is_text=True, content_type="text/plain"),
    Message("a/two", b"\xff\x00\x01 q\r\n", QoS(2), correlation_data=b"cd", response_topic="re/x"),
    Message("b", b"x" * 300, QoS(0), user_properties=(("k", "v"), ("k", "w"))),
    Message("b/ä", "größer\t".encode(), QoS(1)),
)


def publish(commands: Commands, topic: str) -> None:
    """The messages, retained, below a topic: with mosquitto_pub."""
    for one in MESSAGES:
        words = ["-V", "5", "-t", f"{topic}/{one.topic}", "-q", str(int(one.qos)), "-r", "-s"]
        for name, value in (
            ("content-type", one.content_type),
            ("response-topic", one.response_topic),
            ("correlation-data", one.correlation_data.decode() if one.correlation_data else None),
            ("payload-format-indicator", "1" if one.payload_is_text else None),
        ):
            if value is not None:
                words += ["-D", "publish", name, value]
        for name, value in one.user_properties:
            words += ["-D", "publish", "user-property", name, value]
        assert commands.mosquitto("pub", *words, stdin=one.payload).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-v"],
        ["-N"],
        ["-v", "-N"],
        ["-F", "%t|%12t|%-12.4t|%q|%r|%l|%05l|%-6l|"],
        ["-F", "%p|%x|%X|%A|%C|%14.3C|%D|%E|%F|%03F|%R|%P|%S|"],
        ["-F", r"\e[1m%t\e[0m\t%%\0@@ @Y\\"],
        ["-F", "%t", "-N"],
        ["-F", "%p", "-v"],
    ],
)
def test_messages_are_printed_alike(commands: Commands, topic: str, words: list[str]) -> None:
    publish(commands, topic)
    options = ["-V", "5", "-t", f"{topic}/#", "-q", "1", "-C", str(len(MESSAGES)), *words]  # in one order
    theirs = commands.mosquitto("sub", *options)
    ours = commands.curier("sub", *options)
    assert (ours.returncode, ours.stderr) == (theirs.returncode, b"") == (0, b"")
    assert sorted(ours.stdout.splitlines()) == sorted(theirs.stdout.splitlines())


def test_json_has_the_same_keys(commands: Commands, topic: str) -> None:
    publish(commands, topic)
    options = ["-V", "5", "-t", f"{topic}/a/one", "-q", "1", "-C", "1"]
    theirs = json.loads(commands.mosquitto("sub", *options, "-F", "%J").stdout)
    ours = json.loads(commands.curier("sub", *options, "-F", "%J").stdout)
    assert (theirs["mid"], theirs["tst"].replace("Z", "")[26:]) == (1, ours["tst"][26:])
    assert ours.pop("tst")[:10] == theirs.pop("tst")[:10]
    assert ours == theirs


@pytest.mark.parametrize(
    "words",
    [
        ["-T", "{}/a/#"],
        ["-T", "{}/+/one", "-T", "{}/b"],
        ["-R"],
        ["--retained-only", "-C", "2"],
        [],
    ],
)
def test_messages_are_chosen_alike(commands: Commands, topic: str, words: list[str]) -> None:
    publish(commands, topic)
    options = ["-t", f"{topic}/#", *(word.format(topic) for word in words)]

    def chosen(seconds: float) -> list[tuple[int, list[bytes]]]:
        time = [] if "-C" in words else ["-W", f"{seconds:g}"]
        done = [commands.mosquitto("sub", *options, *time), commands.curier("sub", *options, *time)]
        return [(one.returncode, sorted(one.stdout.splitlines())) for one in done]

    theirs, ours = in_longer(chosen, lambda both: both[0] == both[1], TIMES)
    assert ours == theirs


@pytest.mark.parametrize(
    ("words", "stdin", "messages"),
    [
        (["-m", "hello"], b"", 1),
        (["-n"], b"", 1),
        (["-s"], b"a\nb\xff\n", 1),
        (["-l"], b"a\n\nb\r\nc", 4),
        (["-m", "x", "--repeat", "3"], b"", 3),
        (["-m", "x", "--repeat", "2", "--repeat-delay", "0.01"], b"", 2),
    ],
)
def test_messages_are_published_alike(
    commands: Commands, topic: str, words: list[str], stdin: bytes, messages: int
) -> None:
    session = ["-c", "-i", topic[-20:], "-t", topic, "-q", "2"]
    printed = []
    for run in (commands.mosquitto, commands.curier):
        assert commands.mosquitto("sub", *session, "-E").returncode == 0
        assert run("pub", "-t", topic, "-q", "2", *words, stdin=stdin).returncode == 0
        assert commands.mosquitto("pub", "-t", topic, "-q", "2", "-m", "the end").returncode == 0
        printed.append(commands.curier("sub", *session, "-C", str(messages + 1), "-F", "%q %x").stdout)
    assert printed[0] == printed[1]
    assert printed[0].splitlines()[messages:] == [b"2 " + b"the end".hex().encode()]


def test_a_file_is_published_alike(commands: Commands, topic: str, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(bytes(range(256)))
    for run in (commands.mosquitto, commands.curier):
        assert run("pub", "-t", f"{topic}/{run.__name__}", "-r", "-q", "1", "-f", str(file)).returncode == 0
    come = commands.mosquitto("sub", "-t", f"{topic}/#", "-C", "2", "-N").stdout
    assert come == bytes(range(256)) * 2


def test_retained_messages_are_removed_alike(commands: Commands, topic: str) -> None:
    for run in (commands.mosquitto, commands.curier):
        publish(commands, topic)
        words = ["-t", f"{topic}/#", "--retained-only"]

        for seconds in TIMES:
            run("sub", *words, "--remove-retained", "-W", str(seconds))
            left = commands.mosquitto("sub", *words, "-W", "1").stdout
            if not left:
                break
        assert left == b""


def test_time_that_is_up_has_the_same_exit_code(commands: Commands, topic: str) -> None:
    for name, words in (("sub", ["-t", topic]), ("rr", ["-t", topic, "-e", f"{topic}/re", "-m", "x"])):
        assert commands.codes_in_time((27, 27), name, *words) == (27, 27)


@pytest.mark.parametrize("version", ["5", "311"])
def test_requests_meet_responses(commands: Commands, topic: str, version: str) -> None:
    """A retained message on the Response Topic is a response, to both."""
    commands.mosquitto("pub", "-t", f"{topic}/re", "-m", "42", "-r")
    words = ("rr", "-V", version, "-t", topic, "-e", f"{topic}/re", "-m", "x", "-v", "-W", "25")
    theirs, ours = commands.mosquitto(*words), commands.curier(*words)
    assert (
        (ours.returncode, ours.stdout)
        == (theirs.returncode, theirs.stdout)
        == (0, f"{topic}/re 42\n".encode())
    )
