"""SCRAM-SHA-256: the vectors of RFC 7677, what is refused and how, and both sides together."""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scramp
from click.testing import CliRunner

import curier
from curier.auth import Credentials, Verdict
from curier.auth.scram import ScramFile
from curier.auth.scram_file import (
    ITERATIONS,
    delete_scram_user,
    read_scram_file,
    set_scram_password,
)
from curier.cli import main
from curier.errors import ConfigError, ConnectionLost, ConnectRefused

RFC_7677 = [
    "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
]
"""Section 3: user "user", password "pencil"."""

SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST, SERVER_FIRST, CLIENT_FINAL, SERVER_FINAL = (text.encode() for text in RFC_7677)


def said(data: bytes | None, username: str | None = None, method: str = "SCRAM-SHA-256") -> Credentials:
    return Credentials("c1", username, None, "", "", 5, method, data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the user of RFC 7677, as this project writes it."""
    path = tmp_path / "scram"
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    _, stored, server, _ = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info("pencil", 4096, salt)
    keys = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    seed = base64.b64encode(b"s" * 32).decode()
    path.write_text(f"*:{seed}\nuser:SCRAM-SHA-256$4096:{keys[0]}${keys[1]}:{keys[2]}\n")
    return path


@pytest.fixture
def one(path: Path) -> ScramFile:
    return ScramFile(path, nonce=lambda: SERVER_NONCE)


async def begun(one: ScramFile, first: bytes = CLIENT_FIRST) -> Verdict:
    verdict = await one.authenticate(said(first))
    assert verdict.reason_code == 0x18
    return verdict


async def test_the_vectors_of_rfc_7677(one: ScramFile) -> None:
    verdict = await begun(one)
    assert verdict.authentication_data == SERVER_FIRST
    verdict = await one.exchange(said(CLIENT_FINAL), verdict.state)
    assert (verdict.accepted, verdict.identity) == (True, "user")
    assert verdict.authentication_data == SERVER_FINAL
    again = await one.exchange(said(CLIENT_FIRST), None)  # a re-authentication is the same again
    assert again.authentication_data == SERVER_FIRST
    assert (await one.exchange(said(CLIENT_FINAL), again.state)).accepted


async def test_the_client_speaks_the_vectors_too() -> None:
    client = curier.ScramSha256("user", "pencil")
    client._client = scramp.ScramClient(["SCRAM-SHA-256"], "user", "pencil", c_nonce="rOprNGfwEbeRWgbNEkqO")
    client._client.get_client_first()
    assert await client.answer(SERVER_FIRST) == CLIENT_FINAL
    client.finish(SERVER_FINAL)


@pytest.mark.parametrize(
    "first",
    [
        None,
        b"",
        b"\xff",
        b"n,,",
        b"n,,n=user",
        b"n,,r=abc",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        b"n,,n=us=er,r=abc",
        b"n,,m=x,n=user,r=abc",
        b"n,,n=user,n=user,r=abc",
        b"n,a=other,n=user,r=abc",
        b"p=tls-unique,,n=user,r=abc",
        b"p=other,,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"n,,n=user,r=" + b"a" * 4096,
        b"n,,n=\x00,r=abc",
        "n,,n=\u200f,r=abc".encode(),
        CLIENT_FINAL,
    ],
)
async def test_what_is_no_first_message(one: ScramFile, first: bytes | None) -> None:
    for verdict in (await one.authenticate(said(first)), await one.exchange(said(first), None)):
        assert (verdict.reason_code, verdict.authentication_data) == (0x87, None)
        assert (verdict.is_mine, verdict.reason_string) == (True, "not authorized")


async def test_a_client_that_would_have_bound_the_channel_may_come_in(one: ScramFile) -> None:
    """Flag y: it could, and thinks that we cannot; which is so (RFC 5802, section 6)."""
    for binding, flag in ((("tls-unique", b"x"), "y"), (None, "n")):
        client = scramp.ScramClient(["SCRAM-SHA-256"], "user", "pencil", binding, "rOprNGfwEbeRWgbNEkqO")
        assert client.get_client_first()[0] == flag
        verdict = await begun(one, b"y" + CLIENT_FIRST[1:])
        client.set_server_first((verdict.authentication_data or b"").decode())
        verdict = await one.exchange(said(client.get_client_final().encode()), verdict.state)
        assert verdict.accepted is (flag == "y")  # c= has to be what it began with


@pytest.mark.parametrize(
    "final",
    [
        None,
        b"",
        b"\xff",
        SERVER_FINAL,
        CLIENT_FIRST,
        CLIENT_FINAL[:-5] + b"AAAA=",
        CLIENT_FINAL.partition(b",p=")[0],
        CLIENT_FINAL.partition(b"p=")[0] + b"p=",
        CLIENT_FINAL.partition(b"p=")[0] + b"p=AAAA",
        CLIENT_FINAL.replace(b"c=biws", b"c=eSws"),
        CLIENT_FINAL.replace(b"c=biws,", b""),
        CLIENT_FINAL.replace(b"rOpr", b"rOpx"),
        CLIENT_FINAL.replace(b"$k0,", b",").replace(b"hNlF", b"hNl"),
        CLIENT_FINAL + b"A" * 5000,
    ],
)
async def test_what_is_no_proof(one: ScramFile, final: bytes | None) -> None:
    verdict = await begun(one)
    verdict = await one.exchange(said(final), verdict.state)
    assert (verdict.reason_code, verdict.authentication_data) == (0x87, None)
    assert verdict.reason_string == "not authorized"


async def test_a_proof_is_good_once(one: ScramFile) -> None:
    verdict = await begun(one)
    assert (await one.exchange(said(CLIENT_FINAL), verdict.state)).accepted
    assert not (await one.exchange(said(CLIENT_FINAL), verdict.state)).accepted


async def challenge(one: ScramFile, user: str) -> list[str]:
    """What a stranger is told of a user: salt and iterations."""
    verdict = await begun(one, f"n,,n={user},r=abc".encode())
    return (verdict.authentication_data or b"").decode().split(",")[1:]


async def test_who_is_not_known_looks_like_who_is(path: Path) -> None:
    """The same salt each time, also after a restart, of the same form; and the refusal is the same."""
    first = [await challenge(ScramFile(path), user) for user in ("nobody", "somebody", "user")]
    second = [await challenge(ScramFile(path), user) for user in ("nobody", "somebody", "user")]
    assert first == second
    assert first[0] != first[1]
    assert [len(part) for part in first[0]] == [len(part) for part in first[2]]
    assert first[0][1] == "i=4096"
    one = ScramFile(path)
    verdicts = []
    for user, password in (("nobody", "pencil"), ("user", "wrong")):
        client = scramp.ScramClient(["SCRAM-SHA-256"], user, password)
        verdict = await begun(one, client.get_client_first().encode())
        client.set_server_first((verdict.authentication_data or b"").decode())
        verdicts.append(await one.exchange(said(client.get_client_final().encode()), verdict.state))
    assert verdicts[0].why == "nobody: The client keys don't match., and no such user is known"
    assert verdicts[1].why == "user: The client keys don't match."
    assert len({replace(verdict, why="", identity=None) for verdict in verdicts}) == 1


async def test_a_user_name_besides_has_to_be_the_same(one: ScramFile) -> None:
    for username in (None, "", "user"):
        assert (await one.authenticate(said(CLIENT_FIRST, username))).reason_code == 0x18
    verdict = await one.authenticate(said(CLIENT_FIRST, "other"))
    assert (verdict.reason_code, verdict.why) == (0x87, "it is user, and the user name is another")


async def test_other_methods_are_somebody_elses(one: ScramFile) -> None:
    assert one.methods == {"SCRAM-SHA-256"}
    assert not (await one.authenticate(said(CLIENT_FIRST, method="JWT"))).is_mine
    assert not (await one.authenticate(Credentials("c1", "user", b"pencil", "", "", 5))).is_mine


# -- the file --


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def look_twice(one: ScramFile, now: list[float]) -> int:
    """What has changed since the last look is read when the next one sees the same."""
    for _ in range(2):
        now[0] += 0.5
        changes = await one.look()
    return changes


async def test_a_change_of_the_file_is_noticed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    one = ScramFile(path, clock=lambda: now[0], nonce=lambda: SERVER_NONCE)
    verdict = await begun(one)
    delete_scram_user(path, "user")
    await look_twice(one, now)
    before = await challenge(one, "nobody")
    assert not (await one.exchange(said(CLIENT_FINAL), verdict.state)).accepted  # it was taken out meanwhile
    write(path, "nothing")
    await look_twice(one, now)
    assert await challenge(one, "nobody") == before
    assert "line 1: expected user:SCRAM-SHA-256$iterations" in caplog.text
    with pytest.raises(ConfigError, match="line 1: expected user"):
        one.reload()
    assert "nothing" not in caplog.text


def test_users_are_added_changed_and_deleted(tmp_path: Path) -> None:
    path = tmp_path / "scram"
    assert set_scram_password(path, "ana", "one", 4096)
    assert set_scram_password(path, "bob, the =", "two", 5000)
    first = read_scram_file(path)
    assert not set_scram_password(path, "ana", "other", 4096)
    second = read_scram_file(path)
    assert [*second.keys] == ["ana", "bob, the ="]
    assert first.seed == second.seed != b""
    assert first.keys["ana"] != second.keys["ana"]
    assert first.keys["bob, the ="] == second.keys["bob, the ="]
    assert path.stat().st_mode & 0o777 == 0o600
    assert "other" not in path.read_text()
    delete_scram_user(path, "ana")
    assert [*read_scram_file(path).keys] == ["bob, the ="]
    for nobody in ("ana", "*"):
        with pytest.raises(ConfigError, match="there is no user"):
            delete_scram_user(path, nobody)


@pytest.mark.parametrize(
    ("user", "password", "iterations", "said"),
    [
        ("", "x", 4096, "the user name is empty"),
        ("*", "x", 4096, "it stands for all"),
        ("a:b", "x", 4096, "a colon ends the name"),
        ("\u200f", "x", 4096, "the user name cannot be used"),
        ("a", "", 4096, "the password is empty"),
        ("a", "\x07", 4096, "the password cannot be used"),
        ("a", "x", 4095, "expected 4096 to 1000000 iterations"),
        ("a", "x", 10**7, "expected 4096 to 1000000 iterations"),
    ],
)
def test_what_cannot_be_a_user(tmp_path: Path, user: str, password: str, iterations: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        set_scram_password(tmp_path / "scram", user, password, iterations)
    assert not (tmp_path / "scram").exists()


def test_lines_that_are_wrong(path: Path) -> None:
    seed, user = path.read_text().splitlines()
    for lines, why in (
        (["user"], "line 1: expected user:SCRAM"),
        (["user:secret"], "line 1: expected user:SCRAM"),
        ([user.replace("4096", "4095")], "line 1: expected 4096 to"),
        ([user.replace("4096", "9999999")], "line 1: expected 4096 to"),
        ([user.replace("4096", "0")], "line 1: expected user:SCRAM"),
        ([user[:-2]], "line 1: expected user:SCRAM"),
        (["# a comment", "", user, user], "line 4: user 'user' is there twice"),
        ([seed, seed], "line 2: user '\\*' is there twice"),
        (["*:AAAA"], "line 1: expected user:SCRAM"),
    ):
        path.write_text("\n".join(lines))
        with pytest.raises(ConfigError, match=why) as error:
            read_scram_file(path)
        assert "secret" not in str(error.value)
    with pytest.raises(ConfigError, match="make it with: curier scram"):
        read_scram_file(path.parent / "other")


def test_a_file_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "scram"

    def run(*arguments: str, **how: Any) -> str:
        result = CliRunner().invoke(main, ["scram", str(path), "ana", *arguments], **how)
        return result.output if result.exit_code == 0 else f"{result.exit_code}: {result.output}"

    assert run("--stdin", input="secret\n") == f"user ana is added to {path}\n"
    assert read_scram_file(path).keys["ana"].iterations == ITERATIONS
    assert (
        run("--stdin", "--iterations", "5000", input="x\n") == f"the password of ana in {path} is changed\n"
    )
    assert read_scram_file(path).keys["ana"].iterations == 5000
    assert "no UTF-8" in run("--stdin", input=b"\xff\n")
    assert run("--delete") == f"user ana is deleted from {path}\n"
    assert run("--delete").startswith("2: ")


# -- both sides --


@pytest.fixture
def users(tmp_path: Path) -> Path:
    for user in ("ana", "bob"):
        set_scram_password(tmp_path / "users", user, f"secret of {user}", 4096)
    return tmp_path / "users"


async def test_broker_and_client(users: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ana = curier.ScramSha256("ana", "secret of ana")
    async with curier.Broker("tcp://127.0.0.1:0", authenticator=ScramFile(users)) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        async with curier.connect(url, authentication=ana) as client:
            (connection,) = broker.core.connections.values()
            assert connection.identity == "ana"
            await client.reauthenticate()
            await client.publish("a", "b", qos=1)
            delete_scram_user(users, "ana")
            broker.authenticator.reload()  # type: ignore[union-attr]
            with pytest.raises(ConnectionLost) as lost:
                await client.reauthenticate()
            assert lost.value.reason_code == 0x87
        for authentication in (ana, curier.ScramSha256("bob", "wrong")):
            with pytest.raises(ConnectRefused) as refused:
                async with curier.connect(url, authentication=authentication):
                    pass
            assert refused.value.reason_code == 0x87
    assert "secret of" not in caplog.text


async def test_nobody_becomes_another_on_the_way(users: Path) -> None:
    async with curier.Broker("tcp://127.0.0.1:0", authenticator=ScramFile(users)) as broker:
        who = curier.ScramSha256("ana", "secret of ana")
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", authentication=who) as client:
            who._username, who._password = "bob", "secret of bob"
            with pytest.raises(ConnectionLost) as lost:
                await client.reauthenticate()
            assert lost.value.reason_code == 0x87


# -- a server that lies --


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (None, "does not speak"),
        (b"x" * 5000, "does not speak"),
        (b"\xff", "decode"),
        (b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce"),
        (b"%r,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce must be longer"),
        (b"%rx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=10000000", "asks for 10000000 iterations"),
        (b"%rx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=" + b"9" * 3000, "asks for 99999999999999999999 iterations"),
        (b"%rx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", "4096"),
        (b"%rx,s=AAAA,i=4096", "salt"),
    ],
)
async def test_a_challenge_that_is_not_answered(first: bytes | None, why: str) -> None:
    client = curier.ScramSha256("ana", "x")
    ours = client.begin().rpartition(b",")[2]
    with pytest.raises(Exception, match=f"(?i){why}"):
        await client.answer(first.replace(b"%r", ours) if first is not None else None)


async def test_a_server_has_to_prove_itself(users: Path) -> None:
    class Lies(ScramFile):
        async def exchange(self, credentials: Credentials, state: object) -> Verdict:
            return replace(await super().exchange(credentials, state), authentication_data=self.proof)

        proof: bytes | None = None

    lies = Lies(users)
    ana = curier.ScramSha256("ana", "secret of ana")
    async with curier.Broker("tcp://127.0.0.1:0", authenticator=lies) as broker:
        for lies.proof in (None, b"", b"\xff", SERVER_FINAL, b"e=other-error"):
            with pytest.raises(ConnectRefused, match="has not proved that it knows the password"):
                async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", authentication=ana):
                    pass


def test_what_cannot_be_said_is_known_at_once() -> None:
    for username, password in (("", "x"), ("a", "\x07")):
        with pytest.raises(ConfigError):
            curier.ScramSha256(username, password)


async def test_who_is_gone_from_the_file_is_known_after_a_look(path: Path) -> None:
    now = [0.0]
    one = ScramFile(path, clock=lambda: now[0], nonce=lambda: SERVER_NONCE)
    verdict = await one.exchange(said(CLIENT_FINAL), (await begun(one)).state)
    assert verdict.why_no_more is not None
    before = await one.look()
    whole = Path.read_text(path)
    write(path, whole.splitlines()[0] + "\n")  # by somebody who has not come to its end
    now[0] += 0.5
    assert (await one.look(), verdict.why_no_more()) == (before, "")
    write(path, whole)
    set_scram_password(path, "other", "x", 4096)
    assert (await look_twice(one, now) > before, verdict.why_no_more()) == (True, "")
    set_scram_password(path, "user", "pencil", 4096)
    one.reload()
    assert verdict.why_no_more() == f"user user has another password in {path}"
    delete_scram_user(path, "user")
    one.reload()
    assert verdict.why_no_more() == f"user user is gone from {path}"
