"""Where curier's commands differ from mosquitto's: each line of the table in docs/command-line.md, with both.

And the exit codes that are the same, cause by cause.
"""

import json
import re
import signal
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.client.certificates import make_certificates
from tests.interop.commands import TIMES, Commands, ScriptedServer
from tests.waiting import in_longer, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"

ACCEPTED = {"5": b"\x20\x03\0\0\0", "311": b"\x20\x02\0\0"}
SUBSCRIBED = b"\x90\x04{id}\0\0"

Start = Callable[..., ScriptedServer]
Check = Callable[[Commands, str, Start], None]

CHECKS: dict[str, Check] = {}
"""By the first column of the table."""


def difference(what: str) -> Callable[[Check], Check]:
    def note(check: Check) -> Check:
        CHECKS[what] = check
        return check

    return note


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[ScriptedServer] = []

    def start(*answers: bytes | None, context: ssl.SSLContext | None = None) -> ScriptedServer:
        servers.append(ScriptedServer(*answers, context=context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


# -- the same --


@pytest.mark.parametrize("version", ["5", "311"])
@pytest.mark.parametrize("name", ["pub", "sub", "rr"])
def test_a_refused_connection_has_its_code(start: Start, name: str, version: str) -> None:
    words = {"pub": ["-m", "x"], "sub": [], "rr": ["-m", "x", "-e", "b"]}[name]
    for code in (0x86, 0x87, 0x88, 0x97) if version == "5" else (2, 3, 4, 5):
        answer = b"\x20\x03\0%c\0" % code if version == "5" else b"\x20\x02\0%c" % code
        commands = start(answer).commands
        assert commands.codes(name, "-V", version, "-t", "a", *words) == (code, code)


@pytest.mark.parametrize("version", ["5", "311"])
@pytest.mark.parametrize("name", ["pub", "rr"])
@pytest.mark.parametrize("accepted", [False, True])
def test_a_lost_connection_has_its_code(start: Start, name: str, version: str, accepted: bool) -> None:
    words = ["-V", version, "-t", "a", "-m", "x", "-q", "1", *(["-e", "b"] if name == "rr" else [])]
    commands = start(*([ACCEPTED[version], b""] if accepted else [b""])).commands
    ours = commands.curier(name, *words, "--reconnect", "0")
    assert (ours.returncode, commands.mosquitto(name, *words).returncode) == (7, 7)


@pytest.mark.parametrize("name", ["pub", "sub", "rr"])
@pytest.mark.parametrize("server", [["-p", "1"], ["-h", "nowhere.invalid"], ["-A", "192.0.2.1"]])
def test_no_connection_has_its_code(commands: Commands, name: str, server: list[str]) -> None:
    words = {"pub": ["-m", "x"], "sub": [], "rr": ["-m", "x", "-e", "b"]}[name]
    assert commands.codes(name, "-t", "a", *words, *server) == (1, 1)


def test_it_comes_from_where_it_should(commands: Commands, topic: str) -> None:
    assert commands.codes("pub", "-t", topic, "-m", "x", "-q", "1", "-A", "127.0.0.1") == (0, 0)


def test_both_count_messages_and_subscribe_alike(commands: Commands, topic: str) -> None:
    assert commands.codes("sub", "-t", topic, "-C", "1", "-E") == (0, 0)


# -- the table --


def rows() -> list[str]:
    """Its first column."""
    section = PAGE.read_text().partition("## Coming from mosquitto")[2]
    lines = re.findall(r"^\| (.*?) \| .* \| .* \|$", section, re.MULTILINE)
    return lines[1:]


def test_every_difference_is_in_the_table_and_checked() -> None:
    assert sorted(rows()) == sorted(CHECKS)


@pytest.mark.parametrize("what", rows())
def test_it_differs_so(commands: Commands, topic: str, start: Start, what: str) -> None:
    CHECKS[what](commands, topic, start)


@difference("version")
def _(commands: Commands, topic: str, start: Start) -> None:
    shown = commands.curier("pub", "-t", topic, "-m", "x", "-d").stderr
    assert b"MQTT 5.0" in shown
    older = start(b"\x20\x02\0\x05").commands  # what a server of 3.1.1 may answer
    assert older.mosquitto("pub", "-t", topic, "-m", "x").returncode == 5


@difference("wrong usage")
def _(commands: Commands, topic: str, start: Start) -> None:
    for words in (
        ["-t", topic],
        ["-t", "a#", "-m", "x"],
        ["-t", topic, "-f", "/none"],
        ["--none"],
        ["-q", "3"],
    ):
        assert commands.codes("pub", *words) == (2, 1)
    for words in (["-t", "a#"], ["-t", "a", "-T", "a#"], ["-t", "a", "-F", "%z"], ["-t", "a", "-C", "0"]):
        assert commands.codes("sub", *words) == (2, 1)
    for words in (["-m", "x", "-m", "y"], ["-m", "x", "-n"], ["-m", "x", "-s"]):
        assert commands.codes("pub", "-t", topic, *words) == (2, 1)


@difference("Ctrl-C, SIGTERM")
def _(commands: Commands, topic: str, start: Start) -> None:
    codes: list[int] = []
    for family in ("curier", "mosquitto"):
        for number in (signal.SIGINT, signal.SIGTERM):
            own = f"{topic}/{len(codes)}"
            ready = ["-t", own, "-m", "has it subscribed?", "-q", "1", "-d"]
            with commands.start(family, "sub", "-t", own) as process:
                wait_until(lambda ready=ready: b": 0x00" in commands.curier("pub", *ready).stderr)  # type: ignore[misc]
                process.send_signal(number)
                process.communicate(timeout=100)
                codes.append(process.returncode)
    assert codes == [130, 143, 0, 0]


@difference("message refused")
def _(commands: Commands, topic: str, start: Start) -> None:
    for qos, kind in (("1", 0x40), ("2", 0x50)):
        refused = start(ACCEPTED["5"], b"%c\x03\0\1\x87" % kind).commands
        assert refused.codes("pub", "-V", "5", "-t", "a", "-m", "x", "-q", qos) == (0x87, 0)


@difference("subscription refused")
def _(commands: Commands, topic: str, start: Start) -> None:
    for version, answer, code in (("5", SUBSCRIBED[:-1] + b"\x87", 0x87), ("311", b"\x90\x03{id}\x80", 0x80)):
        refused = start(ACCEPTED[version], answer).commands
        assert refused.codes("sub", "-V", version, "-t", "a") == (code, 0)
    some = start(ACCEPTED["5"], b"\x90\x05{id}\0\0\x87", None).commands
    assert some.curier("sub", "-V", "5", "-t", "a", "-t", "b").returncode == 0x87
    done = in_longer(
        lambda seconds: some.mosquitto("sub", "-V", "5", "-t", "a", "-t", "b", "-W", f"{seconds:g}"),
        lambda one: one.returncode == 27,
        TIMES,
    )
    assert done.returncode == 27


@difference("connection lost")
def _(commands: Commands, topic: str, start: Start) -> None:
    lost = start(ACCEPTED["5"], b"").commands
    words = ["-V", "5", "-t", "a", "-m", "x", "-q", "1"]
    assert b"attempt 1 to connect" in lost.curier("pub", *words, "--reconnect", "1").stderr
    assert lost.mosquitto("pub", *words).returncode == 7


@difference("DISCONNECT of the server")
def _(commands: Commands, topic: str, start: Start) -> None:
    for code in (0x8E, 0x9D):
        for_good = start(ACCEPTED["5"], b"\xe0\x01%c" % code).commands
        assert for_good.codes("sub", "-V", "5", "-t", "a") == (7, 0)
        assert for_good.codes("pub", "-V", "5", "-t", "a", "-m", "x", "-q", "1")[0] == 7
    for code in (0x98, 0x87):
        server = start(ACCEPTED["5"], b"\xe0\x01%c" % code)
        goes_on = in_longer(
            lambda seconds, server=server: server.commands.curier(  # type: ignore[misc]
                "sub", "-V", "5", "-t", "a", "-W", f"{seconds:g}"
            ),
            lambda one: b"attempt 1 to connect" in one.stderr,
            TIMES,
        )
        assert goes_on.returncode == 27
        assert b"attempt 1 to connect" in goes_on.stderr
        assert server.commands.mosquitto("sub", "-V", "5", "-t", "a").returncode == 0
        once = ("-V", "5", "-t", "a", "-m", "x", "-q", "1", "--reconnect", "0")
        assert server.commands.curier("pub", *once).returncode == 7


@difference("certificate refused")
def _(commands: Commands, topic: str, start: Start) -> None:
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        server = start(context=certificates.server("stranger"))
        words = ["pub", "-t", "a", "-m", "x", "--cafile", str(certificates.ca)]
        assert server.commands.curier(*words).returncode == 1
        # Mosquitto's looks for the answer once while it connects, which makes 1 of it, and later again: 8.
        server.asked.clear()
        server.may_answer.clear()
        with server.commands.start("mosquitto", *words) as process:
            assert server.asked.wait(100)
            wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING)
            server.may_answer.set()
            process.communicate(timeout=100)
        assert process.returncode == 8


@difference("time of `-W`")
def _(commands: Commands, topic: str, start: Start) -> None:
    assert commands.codes("sub", "-t", topic, "-W", "0.5") == (27, 1)
    silent = start(None).commands
    assert silent.codes("sub", "-t", topic, "-W", "1") == (27, 255)
    assert silent.codes("rr", "-t", topic, "-e", "b", "-m", "x", "-W", "1") == (27, 27)


@difference("payload that is no JSON")
def _(commands: Commands, topic: str, start: Start) -> None:
    commands.mosquitto("pub", "-t", topic, "-m", "no", "-r")
    ours, theirs = commands.both("sub", "-t", topic, "-C", "1", "-F", "%J")
    assert (ours.returncode, theirs.returncode) == (1, 0)
    assert ours.stdout == b""
    assert ours.stderr.startswith(b"Error: ")
    assert theirs.stderr.startswith(b"Error: ")


@difference("number that is too large")
def _(commands: Commands, topic: str, start: Start) -> None:
    commands.mosquitto("pub", "-t", topic, "-m", "1e400", "-r")
    ours, theirs = commands.both("sub", "-t", topic, "-C", "1", "-F", "%J")
    assert b"1e400 is larger" in ours.stderr
    assert json.loads(theirs.stdout)["payload"] is None


@difference("`%j` of bytes")
def _(commands: Commands, topic: str, start: Start) -> None:
    commands.mosquitto("pub", "-t", topic, "-s", "-r", stdin=b"\xff")
    ours, theirs = commands.both("sub", "-t", topic, "-C", "1", "-F", "%j")
    assert json.loads(ours.stdout)["payload-base64"] == "/w=="
    assert b"\xff" in theirs.stdout


@difference("`tst`")
def _(commands: Commands, topic: str, start: Start) -> None:
    commands.mosquitto("pub", "-t", topic, "-m", "x", "-r")
    ours, theirs = [
        json.loads(one.stdout)["tst"] for one in commands.both("sub", "-t", topic, "-C", "1", "-F", "%j")
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d{4}", ours)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z[+-]\d{4}", theirs)


@difference("`--pretty`")
def _(commands: Commands, topic: str, start: Start) -> None:
    commands.mosquitto("pub", "-t", topic, "-m", "x", "-r")
    ours, theirs = commands.both("sub", "-t", topic, "-C", "1", "-F", "%j", "--pretty")
    assert ours.stdout.startswith(b'{\n  "tst": ')
    assert theirs.stdout.startswith(b'{\n\t"tst":\t')


@difference("widths")
def _(commands: Commands, topic: str, start: Start) -> None:
    commands.mosquitto("pub", "-t", topic, "-m", "abcd", "-r")
    words = ["sub", "-V", "5", "-t", topic, "-C", "1"]
    for text, expected in (
        ("%3D|%3P|%3q|%3r", (b"   |   |  0|  1\n", b"||0|1\n")),
        ("%3p|%4x|%4X|%6p", (b"abcd|61626364|61626364|  abcd\n", b"abc|6162|6162|  abcd\n")),
        ("%3C|%3R|%3E|%3S", (b"   |   |   |   \n", b"   ||   |   \n")),
    ):
        ours, theirs = commands.both(*words, "-F", text)
        assert (ours.stdout, theirs.stdout) == expected


@difference("greatest widths")
def _(commands: Commands, topic: str, start: Start) -> None:
    name = f"\N{LATIN SMALL LETTER A WITH DIAERESIS}bc/{topic}"
    commands.mosquitto("pub", "-t", name, "-m", "x", "-r")
    ours, theirs = commands.both("sub", "-t", name, "-C", "1", "-F", "%.2t")
    assert (ours.stdout, theirs.stdout) == (name[:2].encode() + b"\n", name.encode()[:2] + b"\n")


@difference("`%A`")
def _(commands: Commands, topic: str, start: Start) -> None:
    publish = b"\x30\x08\0\1a\x03\x23\0\x03x"
    server = start(ACCEPTED["5"], SUBSCRIBED + publish, None).commands
    words = ["-V", "5", "-t", "a", "-C", "1", "-F", "%A|"]
    assert server.mosquitto("sub", *words).stdout == b"3|\n"
    with_alias = ["-D", "connect", "topic-alias-maximum", "5"]
    assert server.curier("sub", *words, *with_alias).stdout == b"|\n"


@difference("`-t` and `-U` of one filter")
def _(commands: Commands, topic: str, start: Start) -> None:
    assert commands.codes_in_time((2, 27), "sub", "-t", topic, "-U", topic) == (2, 27)


@difference("`-U` alone")
def _(commands: Commands, topic: str, start: Start) -> None:
    assert commands.codes("sub", "-U", topic) == (0, 1)


@difference("messages of a resumed session")
def _(commands: Commands, topic: str, start: Start) -> None:
    for family in (commands.curier, commands.mosquitto):
        session = ["-c", "-i", f"{family.__name__}{topic[-12:]}", "-q", "1"]
        commands.mosquitto("sub", *session, "-t", topic, "-E")
        commands.mosquitto("pub", "-t", topic, "-m", "x", "-q", "1")
        expected = b"" if family == commands.curier else b"x\n"
        printed = in_longer(
            lambda seconds, family=family, session=session: (
                family(  # type: ignore[misc]
                    "sub", *session, "-t", f"{topic}/else", "-W", f"{seconds:g}"
                ).stdout
            ),
            lambda printed, expected=expected: printed == expected,  # type: ignore[misc]
            TIMES,
        )
        assert printed == expected


@difference("`-t` twice")
def _(commands: Commands, topic: str, start: Start) -> None:
    words = ["-t", topic, "-t", f"{topic}/2", "-m", "x", "-r"]
    assert commands.codes("pub", *words) == (2, 0)
    assert (
        commands.mosquitto("sub", "-t", f"{topic}/#", "-C", "1", "-F", "%t").stdout == f"{topic}/2\n".encode()
    )


@difference("`-l` with `-f`")
def _(commands: Commands, topic: str, start: Start) -> None:
    assert commands.codes("pub", "-t", topic, "-l", "-f", __file__) == (0, 1)


@difference("`-k`")
def _(commands: Commands, topic: str, start: Start) -> None:
    for seconds, code in (("0", 1), ("4", 1), ("5", 27)):
        both = (27, code)
        assert commands.codes_in_time(both, "sub", "-t", topic, "-k", seconds) == both


@difference("`rr` without `-e`")
def _(commands: Commands, topic: str, start: Start) -> None:
    assert commands.codes("rr", "-t", topic, "-m", "x", "-W", "1") == (27, 1)


@difference("`-d`")
def _(commands: Commands, topic: str, start: Start) -> None:
    ours, theirs = commands.both("sub", "-t", topic, "-E", "-d")
    assert (ours.stdout, b"connected to" in ours.stderr) == (b"", True)
    assert b"sending CONNECT" in theirs.stdout


@difference("`--quiet`")
def _(commands: Commands, topic: str, start: Start) -> None:
    ours, theirs = commands.both("pub", "-t", topic, "-m", "x", "-p", "1", "--quiet")
    assert (ours.stderr.startswith(b"Error: "), theirs.stderr) == (True, b"")


@difference("`-D`")
def _(commands: Commands, topic: str, start: Start) -> None:
    for words in (["unsubscribe", "user-property", "a", "b"], ["publish", "topic-alias", "1"]):
        assert commands.codes("pub", "-V", "5", "-t", topic, "-m", "x", "-D", *words) == (2, 0)


@difference("TLS")
def _(commands: Commands, topic: str, start: Start) -> None:
    assert commands.codes("pub", "-t", topic, "-m", "x", "--insecure") == (1, 0)


@difference("`--tls-version`")
def _(commands: Commands, topic: str, start: Start) -> None:
    assert commands.codes("pub", "-t", topic, "-m", "x", "--tls-version", "tlsv1.1") == (2, 0)


@difference("`--keyform engine`, `--tls-engine`, `--tls-engine-kpass-sha1`, `-S`")
def _(commands: Commands, topic: str, start: Start) -> None:
    said = b"Error: Unknown option"
    for words in (["--tls-engine", "a"], ["-S"], ["--keyform", "engine", "--key", "a"]):
        ours, theirs = commands.both("pub", "-t", topic, "-m", "x", *words)
        assert ours.returncode == 2
        assert said not in theirs.stderr or words == ["-S"]  # which few builds have
        assert b"no engines" in ours.stderr or b"SRV" in ours.stderr


@difference("files with options")
def _(commands: Commands, topic: str, start: Start) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("mosquitto_pub", "curier_pub"):
            Path(folder, name).write_text("-m x\n")
        there = Commands(commands.port, {"XDG_CONFIG_HOME": folder})
        assert there.codes("pub", "-t", topic) == (2, 0)
