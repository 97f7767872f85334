"""How a message is printed: payload, topic and payload, JSON, formats."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.cli.formats import BadFormat, Look, printer
from curier.payloads import BadPayload
from curier.types import Message, QoS

NOW = 1_795_676_026_008_671_605
"""A time in nanoseconds: 2026-11-26 06:53:46 UTC."""


class Delivered(Message):
    """As it is received: with a Packet Identifier."""

    packet_id = 9


FULL = Delivered(
    "x/one",
    b'{"a":1}',
    QoS(1),
    True,
    payload_is_text=True,
    message_expiry=60,
    content_type="text/plain",
    response_topic="re/x",
    correlation_data=b"cd",
    user_properties=(("k", "v"), ("k", "w")),
    subscription_identifiers=(7,),
)
BARE = Message("x/two", b'\xff\x00\x01q"')


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def show(message: Message, **look: object) -> bytes:
    return printer(Look(**look))(message)  # type: ignore[arg-type]  # whatever a test says of it


# -- payload, and topic with payload --


def test_the_payload_is_printed_as_it_is() -> None:
    assert show(BARE) == b'\xff\x00\x01q"\n'
    assert show(BARE, newline=False) == BARE.payload


def test_nothing_is_printed_of_nothing() -> None:
    """As mosquitto_sub does."""
    assert show(Message("a")) == b""
    assert show(Message("a"), verbose=True) == b"a (null)\n"
    assert show(Message("a"), verbose=True, newline=False) == b"a (null)"


def test_topic_and_payload() -> None:
    assert show(FULL, verbose=True) == b'x/one {"a":1}\n'


def test_a_terminal_gets_no_commands_out_of_messages() -> None:
    message = Message("a\x1b[2J", "b\x1b[2J\x9b\t\n\xe4\u202e".encode() + b"\xff")
    shown = "a\\x1b[2J b\\x1b[2J\\x9b\t\nä\\u202e\\xff\n".encode()
    assert show(message, verbose=True, terminal=True) == shown
    assert show(message, format="%t %p", terminal=True) == shown
    assert b"\x1b" not in show(message, json_lines=True, terminal=True)
    assert show(message, format="\\e[1m", terminal=True) == b"\x1b[1m\n"


# -- formats: each line was seen with mosquitto_sub, but where it says so --


@pytest.mark.parametrize(
    ("text", "full", "bare"),
    [
        ("%l|%5l|%-5l|%05l", "7|    7|7    |00007", "5|    5|5    |00005"),
        ("%x|%12X|%-12x|%012x", None, "ff00017122|  FF00017122|ff00017122  |00ff00017122"),
        ("%10p|%010p|%-10p|", '   {"a":1}|000{"a":1}|{"a":1}   |', None),
        ("%t|%10t|%-10t|%3.3t|%.3t|%010t", "x/one|     x/one|x/one     |x/o|x/o|     x/one", None),
        ("%A|%5A|%05A", "|     |00000", "|     |00000"),
        ("%C|%8C|%3.3C|%12C|", "text/plain|text/plain|tex|  text/plain|", "|        |   |            |"),
        ("%D|%5D|%-5D|", "cd|   cd|cd   |", "|     |     |"),
        ("%E|%5E|%05E", "60|   60|00060", "|     |00000"),
        ("%F|%5F", "1|    1", "|     "),
        ("%P|%9P|%-9P|", "k:v k:w|  k:v k:w|k:v k:w  |", "|         |         |"),
        ("%R|%6.2R", "re/x|    re", "|      "),
        ("%S|%5S", "7|    7", "|     "),
        ("%q|%5q|%05q|%r|%-3r|", "1|    1|00001|1|1  |", "0|    0|00000|0|0  |"),
        ("%m|%5m|%-5m|%05m", "9|    9|9    |00009", "0|    0|0    |00000"),
        ("%I|%U|@Y-@m-@d @N", *["2026-11-26T06:53:46+0000|1795676026.008671605|2026-11-26 008671605"] * 2),
        (
            "%30I|%-30I|%.10I|%12.4I",
            *["      2026-11-26T06:53:46+0000|2026-11-26T06:53:46+0000      |2026-11-26|        2026"] * 2,
        ),
        ("%25U|%-25U|", *["     1795676026.008671605|1795676026.008671605     |"] * 2),
        (r"%%|@@|\\|\0|\a|\e|\n|\r|\t|\v", *["%|@|\\|\0|\a|\x1b|\n|\r|\t|\v"] * 2),
    ],
)
def test_sequences(text: str, full: str | None, bare: str | None) -> None:
    for message, expected in ((FULL, full), (BARE, bare)):
        if expected is not None:
            assert show(message, format=text, newline=False) == expected.encode()


def test_widths_are_of_characters() -> None:
    assert show(Message("ä"), format="%3t|%-3t|") == "  ä|ä  |\n".encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a%", "the format ends with '%'"),
        ("a@", "the format ends with '@'"),
        ("a\\", "the format ends with '\\\\'"),
        ("%-05", "there is no sequence %"),
        ("%z", "there is no sequence %z; there are %% %A "),
        ("\\q", "there is no sequence \\q; there are \\\\ \\0 "),
        ("%99999t", "a width may be 10000 at most"),
    ],
)
def test_a_format_that_cannot_be_is_told(text: str, said: str) -> None:
    with pytest.raises(BadFormat) as raised:
        printer(Look(format=text))
    assert said in str(raised.value)


@given(st.text(alphabet="%@\\-0129.tpxqjJ Yn", max_size=12))
def test_a_format_prints_or_is_refused(text: str) -> None:
    try:
        show_it = printer(Look(format=text))
    except BadFormat:
        return
    assert show_it(FULL).endswith(b"\n")


# -- JSON --


def test_a_message_as_json() -> None:
    assert json.loads(show(FULL, json_lines=True)) == {
        "tst": "2026-11-26T06:53:46.008671+0000",
        "topic": "x/one",
        "qos": 1,
        "retain": 1,
        "payloadlen": 7,
        "mid": 9,
        "properties": {
            "payload-format-indicator": 1,
            "message-expiry-interval": 60,
            "content-type": "text/plain",
            "response-topic": "re/x",
            "correlation-data": "cd",
            "subscription-identifier": 7,
            "user-properties": {"k": "w"},
        },
        "payload": '{"a":1}',
    }


@pytest.mark.parametrize("pretty", [False, True])
def test_json_loses_no_property_that_is_there_more_than_once(pretty: bool) -> None:
    message = replace(FULL, subscription_identifiers=(7, 8))
    pairs = json.loads(show(message, json_lines=True, pretty=pretty), object_pairs_hook=list)
    properties = dict(pairs)["properties"]
    assert [value for name, value in properties if name == "subscription-identifier"] == [7, 8]
    assert dict(properties)["user-properties"] == [("k", "v"), ("k", "w")]
    assert "mid" not in json.loads(show(BARE, json_lines=True))


def test_times_are_of_this_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    assert json.loads(show(BARE, json_lines=True))["tst"] == "2026-11-26T12:23:46.008671+0530"
    assert show(BARE, format="%I") == b"2026-11-26T12:23:46+0530\n"


def test_json_says_bytes_that_are_no_text_in_base64() -> None:
    told = json.loads(show(Message("a", b"\xff", correlation_data=b"\xfe"), json_lines=True))
    assert (told["payload-base64"], "payload" in told) == ("/w==", False)
    assert told["properties"] == {"correlation-data-base64": "/g=="}
    assert json.loads(show(Message("a"), json_lines=True))["payload"] is None


def test_json_with_a_payload_that_is_json() -> None:
    assert json.loads(show(FULL, format="%J"))["payload"] == {"a": 1}
    assert json.loads(show(Message("a"), format="%J"))["payload"] is None
    with pytest.raises(BadPayload, match="is not JSON"):
        show(BARE, format="%J")


def test_payloads_are_decoded_wherever_they_are_printed() -> None:
    message = Message("a", b"\xa1\x61\x61\x01")
    assert show(message, decode="cbor") == b'{"a":1}\n'
    assert show(message, decode="cbor", verbose=True) == b'a {"a":1}\n'
    assert show(message, decode="cbor", format="%9p %x") == b'  {"a":1} a1616101\n'
    assert json.loads(show(message, decode="cbor", json_lines=True))["payload"] == {"a": 1}
    assert json.loads(show(message, decode="cbor", format="%J"))["payload"] == {"a": 1}
    assert json.loads(show(message, decode="hex", json_lines=True))["payload"] == "a1616101"
    with pytest.raises(BadPayload, match="is not CBOR"):
        show(Message("a", b"\xff"), decode="cbor")


def test_pretty_json() -> None:
    assert show(FULL, pretty=True) == b'{\n  "a": 1\n}\n'
    assert show(Message("a", b"no JSON"), pretty=True) == b"no JSON\n"
    assert show(FULL, pretty=True, colours=True) == b'{\n  \x1b[34m"a"\x1b[0m: \x1b[36m1\x1b[0m\n}\n'
    assert show(FULL, pretty=True, json_lines=True).startswith(b'{\n  "tst": "2026')
