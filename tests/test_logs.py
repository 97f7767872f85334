"""What a broker tells people who read logs."""

from __future__ import annotations

import logging

import pytest

from curier.broker.core import BrokerCore
from curier.broker.model import BrokerConnection
from curier.broker.mounting import OTHER_MOUNT
from curier.broker.options import Options
from curier.logs import DROPS_SECONDS, MOST_LOSERS, MOST_OF_REASON, LogHook
from curier.session.message import ApplicationMessage
from curier.settings.log_levels import TOPICS, topic_of


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("curier.logs.time.monotonic", lambda: self.now)  # of every module


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def connection(caplog: pytest.LogCaptureFixture) -> BrokerConnection:
    caplog.set_level(logging.DEBUG, logger="curier")  # whatever a command run before has made of it
    connection = BrokerCore(Options(), 0.0).attach("127.0.0.1:5", "memory", 0.0)
    connection.client_id = "c"
    connection.version = 5
    return connection


def test_every_event_has_its_line(
    connection: BrokerConnection, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hook = LogHook()
    hook.on_connect(connection, False)
    hook.on_connect(connection, True)
    hook.on_subscribe(connection, b"t/#", 1)
    hook.on_subscribe(connection, b"u", 0x87)
    hook.on_unsubscribe(connection, b"t/#")
    hook.on_revoke("c", b"t/#", "acl, line 3: deny")
    hook.on_drop("c", ApplicationMessage(b"t", b"secret", 0, False), "its queue is full")
    hook.on_slow(connection, "it sends too much")
    hook.on_disconnect(connection, 0, "the client disconnected")
    hook.on_session_end("c", "its connection ended")
    connection.client_id = ""
    hook.on_refuse(connection, 0x81, "no packet")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "c connected from 127.0.0.1:5 at memory, MQTT 5.0, with a new session"),
        ("INFO", "c connected from 127.0.0.1:5 at memory, MQTT 5.0, with its session"),
        ("DEBUG", "c (127.0.0.1:5) subscribed to t/# with QoS 1"),
        ("WARNING", "c (127.0.0.1:5) may not subscribe to u (0x87)"),
        ("DEBUG", "c (127.0.0.1:5) unsubscribed from t/#"),
        ("WARNING", "the subscription of c to t/# has ended: acl, line 3: deny"),
        ("WARNING", "a message on t for c dropped: its queue is full"),
        ("WARNING", "c (127.0.0.1:5) is slowed: it sends too much"),
        ("INFO", "c (127.0.0.1:5) disconnected: the client disconnected"),
        ("DEBUG", "the session of c has ended: its connection ended"),
        ("WARNING", "127.0.0.1:5 at memory refused: no packet (0x81)"),
    ]


def test_what_was_lost_with_a_session_of_another_mount(
    connection: BrokerConnection, caplog: pytest.LogCaptureFixture
) -> None:
    LogHook().on_session_end("c", OTHER_MOUNT)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the session of c has ended: its client has come in by a listener with another mount")
    ]


def test_a_listener_is_called_by_its_name(
    connection: BrokerConnection, caplog: pytest.LogCaptureFixture
) -> None:
    connection.entrance.name = "front"
    hook = LogHook()
    hook.on_connect(connection, False)
    hook.on_refuse(connection, 0x87, "no")
    assert caplog.messages == [
        "c connected from 127.0.0.1:5 at front, MQTT 5.0, with a new session",
        "c (127.0.0.1:5) at front refused: no (0x87)",
    ]


def test_a_flood_of_refusals_is_summed_up(
    connection: BrokerConnection, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hook = LogHook()
    for _ in range(1000):
        hook.on_refuse(connection, 0x87, "no")
        hook.on_subscribe(connection, b"t", 0x87)
    assert len(caplog.records) == 40  # 20 of each kind
    clock.now += DROPS_SECONDS
    hook.on_connect(connection, False)
    assert [
        record.getMessage() for record in sorted(caplog.records[40:], key=lambda record: record.levelno)
    ] == [
        "c connected from 127.0.0.1:5 at memory, MQTT 5.0, with a new session",
        "980 more lines were left out like: ... at ... refused: ... (0x...)",
        "980 more lines were left out like: ... may not subscribe to ... (0x...)",
    ]


def test_nobody_makes_long_lines(
    connection: BrokerConnection, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hook = LogHook()
    for character in ("x", "\x01", "\U0001f511", "é"):
        name = character * 65_535
        connection.client_id = name[: 65_535 // len(character.encode())]
        hook.on_connect(connection, False)
        hook.on_refuse(connection, 0x87, name)
        hook.on_disconnect(connection, 0x87, name)
        hook.on_session_end(name, "no")
        hook.on_subscribe(connection, name.encode(), 0)
        hook.on_subscribe(connection, name.encode(), 0x87)
        hook.on_unsubscribe(connection, name.encode())
        hook.on_drop(name, ApplicationMessage(name.encode(), b"", 0, False), "why")
        clock.now += DROPS_SECONDS
    assert len(caplog.records) == 4 * 8
    for record in caplog.records:
        assert len(record.getMessage()) < 200 + MOST_OF_REASON + 200
        assert " characters)" in record.getMessage()


def test_a_flood_of_dropped_messages_is_summed_up_for_each_session(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hook = LogHook()
    for number in range(1000):
        topic = f"t{min(number % 10, 4)}".encode()
        hook.on_drop("c", ApplicationMessage(topic, b"", 0, False), "why")
    hook.on_drop("d", ApplicationMessage(b"t", b"", 0, False), "why")
    clock.now += DROPS_SECONDS
    hook.tell()
    clock.now += DROPS_SECONDS
    hook.tell()
    hook.on_drop("c", ApplicationMessage(b"t", b"", 0, False), "again")
    hook.on_drop("c", ApplicationMessage(b"t", b"", 0, False), "again")
    hook.tell()
    hook.tell(is_last=True)
    assert [record.getMessage() for record in caplog.records] == [
        "a message on t0 for c dropped: why",
        "a message on t for d dropped: why",
        "999 message(s) for c dropped in 60 s (600 on t4, 100 on t1, 100 on t2, 199 on others): why",
        "a message on t for c dropped: again",
        "1 message(s) for c dropped in 1 s (1 on t): again",
    ]


def test_those_of_very_many_sessions_are_told_together(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hook = LogHook()
    for number in range(MOST_LOSERS + 5):
        hook.on_drop(f"c{number}", ApplicationMessage(b"t", b"", 0, False), "why")
    caplog.clear()
    hook.tell(is_last=True)
    assert [record.getMessage() for record in caplog.records] == [
        "5 message(s) for other clients dropped in 1 s (5 on t): why"
    ]


@pytest.mark.parametrize("name", ["a\nINFO: all is well", "a\x1b[2J", "a\u2028b", "a\x7f"])
def test_a_stranger_cannot_write_lines_of_its_own(
    connection: BrokerConnection, clock: Clock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    hook = LogHook()
    connection.client_id = name
    hook.on_connect(connection, False)
    hook.on_refuse(connection, 0x87, "no")
    hook.on_disconnect(connection, 0x87, "no")
    hook.on_session_end(name, "no")
    hook.on_subscribe(connection, name.encode(), 0)
    hook.on_drop(name, ApplicationMessage(name.encode(), b"", 0, False), "why")
    assert len(caplog.records) == 6
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_names_in_other_scripts_stay_readable(
    connection: BrokerConnection, caplog: pytest.LogCaptureFixture
) -> None:
    connection.client_id = "температура-室"
    LogHook().on_connect(connection, False)
    assert caplog.records[0].getMessage().startswith("температура-室 connected")


def test_who_a_client_is_known_as_is_told(
    connection: BrokerConnection, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    connection.identity = "ana\n"
    hook = LogHook()
    hook.on_connect(connection, False)
    hook.on_refuse(connection, 0x87, "no")
    connected, refused = caplog.records
    assert (
        connected.getMessage()
        == "c connected as ana\\n from 127.0.0.1:5 at memory, MQTT 5.0, with a new session"
    )
    known = {
        "client_id": "c",
        "identity": "ana\\n",
        "address": "127.0.0.1:5",
        "listener": "memory",
        "version": "5.0",
    }
    assert connected.__dict__["fields"] == known
    assert refused.__dict__["fields"] == {**known, "reason_code": 0x87}


def test_each_topic_may_have_a_level_of_its_own(
    connection: BrokerConnection, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", TOPICS["connect"])
    caplog.set_level("DEBUG", TOPICS["subscribe"])
    hook = LogHook()
    hook.on_connect(connection, False)
    hook.on_subscribe(connection, b"t/#", 1)
    hook.on_disconnect(connection, 0, "bye")
    hook.on_refuse(connection, 0x87, "no")
    assert [(record.levelname, topic_of(record.name)) for record in caplog.records] == [
        ("DEBUG", "subscribe"),
        ("WARNING", "connect"),
    ]
