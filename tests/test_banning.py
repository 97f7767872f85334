"""What a broker counts as a wrong login or a lost connection, and what those are told who are banned."""

from __future__ import annotations

import logging
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from curier import ScramSha256
from curier.auth.bans import Bans, BanSettings
from curier.auth.base import Authenticator, Credentials, Verdict
from curier.auth.scram import ScramFile
from curier.auth.scram_file import set_scram_password
from curier.banning import Banning
from curier.broker.effects import Answer
from curier.broker.hooks import Hook
from curier.codec.packets import Connack, Connect
from curier.config import load
from curier.errors import ConfigError
from curier.testing.seams import credentials
from tests.broker.harness import FOREVER, Net
from tests.net.harness import Peer, running

NEVER = (ip_network("192.0.2.0/24"),)


class OnlyAna(Authenticator):
    look_seconds = 0.001

    def __init__(self) -> None:
        self.asked = 0
        self.changes = 0

    async def look(self) -> int:
        return self.changes

    async def authenticate(self, credentials: Credentials) -> Verdict:
        self.asked += 1
        if credentials.username is None:
            return Verdict(0x87)
        return Verdict(0 if credentials.password == b"right" else 0x86)


async def login(
    port: int, version: int, user: str | None, password: bytes | None, client_id: str = "c"
) -> Connack:
    peer = await Peer.open(port, version)
    await peer.send(Connect(version, client_id, True, 0, user, password))
    return await peer.expect(Connack)


async def test_who_guesses_is_told_and_not_asked_about(caplog: pytest.LogCaptureFixture) -> None:
    ana = OnlyAna()
    settings = BanSettings(failures=3, never=NEVER)
    async with running(True, authenticator=ana, bans=settings) as broker:
        for _ in range(5):
            assert (await login(broker.port, 5, None, None)).reason_code == 0x87  # who guesses nothing
        for _ in range(3):
            assert (await login(broker.port, 5, "ana", b"wrong")).reason_code == 0x86
        connack = await login(broker.port, 5, "ana", b"right")
        assert connack.reason_code == 0x8A
        assert connack.properties is not None
        why = "user ana at 127.0.0.1 is banned for 300 s more: 3 wrong logins in 300 s"
        assert connack.properties.reason_string == why
        assert (await login(broker.port, 4, "ana", b"right")).reason_code == 5
        assert (await login(broker.port, 5, "ben", b"right", "d")).reason_code == 0
        assert ana.asked == 9
        assert broker.bans is not None
        assert [ban.whom for ban in broker.bans.present()] == ["user ana at 127.0.0.1"]
        assert broker.bans.lift("127.0.0.1", "user ana")
        assert (await login(broker.port, 5, "ana", b"right")).reason_code == 0
    assert "refused: user ana: refused (0x86)" in caplog.text
    assert "user ana at 127.0.0.1 is banned for 300 s: 3 wrong logins in 300 s" in caplog.text


async def test_whose_password_has_changed_may_try_again() -> None:
    ana = OnlyAna()
    async with running(True, authenticator=ana, bans=BanSettings(failures=1, never=NEVER)) as broker:
        await login(broker.port, 5, "ana", b"wrong")
        assert (await login(broker.port, 5, "ana", b"right")).reason_code == 0x8A
        ana.changes += 1
        while (await login(broker.port, 5, "ana", b"right")).reason_code:
            pass


async def test_nobody_is_banned_where_that_is_not_wanted() -> None:
    async with running(True, authenticator=OnlyAna(), bans=None) as broker:
        for _ in range(15):
            assert (await login(broker.port, 5, "ana", b"wrong")).reason_code == 0x86


@pytest.mark.parametrize(
    ("code", "is_counted"),
    [(0x86, True), (0x87, True), (0x88, False), (0x89, False), (0x97, False), (0x85, False), (0x18, False)],
)
def test_what_is_a_wrong_login(code: int, is_counted: bool) -> None:
    banning = Banning(Bans(BanSettings(failures=1, never=())), lambda: 0.0)
    asked = credentials("ana", b"x")
    banning.answered(asked, Verdict(code))
    assert (banning.verdict(asked) is not None) == is_counted


def test_a_token_without_a_name_is_counted_by_client() -> None:
    banning = Banning(Bans(BanSettings(failures=1, never=())), lambda: 0.0)
    banning.answered(credentials(None, b"token", "a"), Verdict(0x86))
    assert banning.verdict(credentials(None, b"token", "a")) is not None
    assert banning.verdict(credentials(None, b"token", "b")) is None
    assert banning.verdict(credentials("ana", b"right", "a")) is None  # whom that one could shut out


async def test_who_guesses_by_scram_is_the_user_that_it_names(tmp_path: Path) -> None:
    """Whatever its Client Identifier, and without a user name in CONNECT."""
    set_scram_password(tmp_path / "users", "a,b", "right", 4096)
    banning = Banning(Bans(BanSettings(failures=2, never=())), lambda: 0.0)
    scram = ScramFile(tmp_path / "users")
    for number in range(3):
        client = ScramSha256("a,b", "wrong")
        asked = replace(
            credentials(None, None, f"c{number}"),
            authentication_method="SCRAM-SHA-256",
            authentication_data=client.begin(),
        )
        assert (banning.verdict(asked) is not None) == (number == 2)
        challenge = await scram.authenticate(asked)
        banning.answered(asked, challenge)
        proof = await client.answer(challenge.authentication_data)
        step = replace(asked, authentication_data=proof)
        banning.answered(step, await scram.exchange(step, challenge.state))
    assert [ban.whom for ban in banning.present()] == ["user a,b at 127.0.0.1"]


class At(Hook):
    """Gives clients addresses that the harness does not have."""

    def on_connect(self, connection: object, session_present: bool) -> None:
        connection.address = "192.0.2.1:5"  # type: ignore[attr-defined]


def test_a_client_flaps_that_loses_its_connection_and_no_other() -> None:
    net = Net(authenticate=lambda question: Answer(0, identity="ana"))
    banning = Banning(Bans(BanSettings(flaps=2)), lambda: net.now)
    net.core.add_hook(At())
    net.core.add_hook(banning)
    for _ in range(3):  # which it says
        net.connect("polite").disconnect()
        net.connect("with its will").disconnect(0x04)
        net.connect("").drop()  # another one each time
        net.connect("once")
        net.connect("other", expiry=FOREVER)
    assert [ban.whom for ban in banning.present()] == [
        "client once at 192.0.2.1",
        "client other at 192.0.2.1",
    ]
    net.core.shut_down(net.now)
    assert len(banning.present()) == 2


def test_the_table_of_a_configuration_file(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    assert load_text(file, "") == BanSettings()
    text = """
        [ban]
        failures = 5
        address_failures = 0
        flaps = 7
        window = "1 min"
        seconds = "10 min"
        longest = "1 d"
        never = ["10.0.0.0/8", "::1"]
        user_failures = 9
    """
    never = (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert load_text(file, text) == BanSettings(5, 0, 7, 60.0, 600.0, 86_400.0, never, 9)


def load_text(file: Path, text: str) -> BanSettings:
    file.write_text(text)
    return load(file).bans


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ban = 7", "line 1: ban: expected a table, as below the line .ban., got 7"),
        ("[ban]\nfailure = 7", "line 2: ban.failure: there is no such key; did you mean failures?"),
        ("[ban]\nwindow = 0", "line 1: ban: window and seconds of a ban must be more than 0"),
        ('[ban]\nnever = "10.0.0.0/8"', "line 2: ban.never: expected a list of networks"),
        ('[ban]\nnever = ["10.0.0.1/8"]', "line 2: ban.never: expected an address or a network"),
    ],
)
def test_a_table_that_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_text(tmp_path / "broker.toml", text)


def test_the_log_names_who_is_banned(caplog: pytest.LogCaptureFixture) -> None:
    banning = Banning(Bans(BanSettings(failures=1, never=())), lambda: 0.0)
    with caplog.at_level(logging.WARNING):
        banning.answered(credentials("a\nb", b"x"), Verdict(0x86))
    assert "user a\\nb at 127.0.0.1 is banned for 300 s" in caplog.text
