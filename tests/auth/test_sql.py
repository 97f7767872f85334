"""Users in a database: queries and what is passed apart from them, rows, and databases that are not there."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import curier
import curier.auth.passwords as passwords
from curier.auth import Credentials, Verdict
from curier.auth.checks import Checks
from curier.auth.databases import Connection, Database, DatabaseFailed, Driver, Postgresql, Row, Sqlite
from curier.auth.hashes import new_token
from curier.auth.mysql import Mysql
from curier.auth.shares import Shares, ShareTaken
from curier.auth.sql import SqlAuthenticator, SqlSettings, prepared
from curier.errors import ConfigError
from curier.types import ReasonCode
from tests.auth.test_password_file import MOSQUITTO, InThread

TOKEN, HASH = new_token()
QUERY = "SELECT * FROM users WHERE name = {username}"
ANA = Credentials("c1", "ana", TOKEN.encode(), "192.0.2.1:5000", "tcp://0.0.0.0:1883", 5)


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "Checks", partial(Checks, make_hasher=InThread))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "users.db", isolation_level=None)
    connection.execute("CREATE TABLE users (name, password, identity, groups, expires_at, claim_site, other)")
    connection.execute("INSERT INTO users (name, password) VALUES ('ana', ?)", (HASH,))
    yield connection
    connection.close()


@pytest.fixture
def one(database: sqlite3.Connection, tmp_path: Path) -> SqlAuthenticator:
    return SqlAuthenticator(SqlSettings(f"sqlite://{tmp_path}/users.db", QUERY))


async def test_a_user_with_the_right_password(one: SqlAuthenticator) -> None:
    verdict = await one.authenticate(ANA)
    assert (verdict.accepted, verdict.identity, verdict.groups) == (True, "ana", frozenset())
    verdict = await one.authenticate(replace(ANA, password=b"other"))
    assert (verdict.reason_code, verdict.is_mine, verdict.why) == (0x86, True, "the password is wrong")
    verdict = await one.authenticate(replace(ANA, username="bob"))
    assert (verdict.reason_code, verdict.is_mine, verdict.why) == (0x86, False, "there is no such user")
    for nobody in ({"username": None}, {"password": None}, {"authentication_method": "JWT"}):
        assert not (await one.authenticate(replace(ANA, **nobody))).is_mine


async def test_what_else_a_row_says(one: SqlAuthenticator, database: sqlite3.Connection) -> None:
    database.execute(
        "UPDATE users SET identity = 'Ana', groups = 'a b', expires_at = 2e9, claim_site = 7, other = x'00'"
    )
    verdict = await one.authenticate(ANA)
    assert verdict == Verdict(0, identity="Ana", groups=frozenset("ab"), claims={"site": "7"}, expires_at=2e9)


async def test_hashes_as_password_files_have_them(
    one: SqlAuthenticator, database: sqlite3.Connection
) -> None:
    database.execute("UPDATE users SET password = ?", (MOSQUITTO,))
    assert (await one.authenticate(replace(ANA, password=b"x"))).accepted
    assert not (await one.authenticate(replace(ANA, password=b"y"))).accepted
    database.execute("UPDATE users SET password = ?", (HASH.encode(),))  # a blob
    assert (await one.authenticate(ANA)).accepted


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("password", "secret", "the column password is no hash"),
        ("password", "", "the column password is no hash"),
        ("password", 7, "the column password is no hash"),
        ("password", b"\xff", "the column password is no hash"),
        ("identity", "", "identity is missing"),
        ("identity", 7, "identity is missing"),
        ("groups", 7, "groups is no list"),
        ("expires_at", "soon", "expires_at is no number"),
        ("claim_site", b"x", "site is neither"),
    ],
)
async def test_rows_that_make_no_sense(
    one: SqlAuthenticator, database: sqlite3.Connection, column: str, value: object, why: str
) -> None:
    database.execute(f"UPDATE users SET {column} = ?", (value,))
    verdict = await one.authenticate(ANA)
    assert verdict.reason_code == ReasonCode.SERVER_UNAVAILABLE
    assert verdict.why.startswith(why)
    assert "secret" not in verdict.why


async def test_no_password_is_a_no(one: SqlAuthenticator, database: sqlite3.Connection) -> None:
    database.execute("UPDATE users SET password = NULL")
    verdict = await one.authenticate(ANA)
    assert (verdict.reason_code, verdict.is_mine, verdict.why) == (0x86, True, "it has no password")


@pytest.mark.parametrize("slashes", ["/", "//"])
async def test_a_path_with_any_characters(database: sqlite3.Connection, tmp_path: Path, slashes: str) -> None:
    (tmp_path / "users.db").rename(tmp_path / "a %20?b#.db")
    url = f"sqlite://{slashes}{str(tmp_path)[1:]}/a%20%2520%3fb%23.db"
    assert (await SqlAuthenticator(SqlSettings(url, QUERY)).authenticate(ANA)).accepted


async def test_two_users_of_one_name_are_none(one: SqlAuthenticator, database: sqlite3.Connection) -> None:
    database.execute("INSERT INTO users (name, password) VALUES ('ana', ?)", (HASH,))
    assert (await one.authenticate(ANA)).why == "the query gives more than one row"


@pytest.mark.parametrize(
    "name",
    ["' OR '1'='1", "x'; DROP TABLE users; --", "%", "_", "*", "ana' --", "{username}", ":username", "\\"],
)
async def test_a_name_is_a_name(one: SqlAuthenticator, database: sqlite3.Connection, name: str) -> None:
    assert (await one.authenticate(replace(ANA, username=name))).why == "there is no such user"
    database.execute("INSERT INTO users (name, password) VALUES (?, ?)", (name, HASH))
    assert (await one.authenticate(replace(ANA, username=name))).identity == name


async def test_all_that_a_query_may_ask_about(tmp_path: Path, database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE seen (a, b, c, d, e)")
    query = (
        "SELECT {username} AS identity, password, {client_id} AS claim_a, {address} AS claim_b, "
        "{listener} AS claim_c, {certificate_name} AS claim_d FROM users -- {not known} here: 'quoted\n"
    )
    one = SqlAuthenticator(SqlSettings(f"sqlite://{tmp_path}/users.db", query))
    verdict = await one.authenticate(replace(ANA, address="[2001:db8::7]:1", listener_name="plain"))
    assert verdict.claims == {"a": "c1", "b": "2001:db8::7", "c": "plain"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1 FROM u WHERE n = '{username}'", "{username} stands in quotes or in a comment"),
        ("SELECT 1 FROM u WHERE n LIKE '%{client_id}%'", "{client_id} stands in quotes"),
        ('SELECT 1 FROM u WHERE n = "{username}"', "{username} stands in quotes"),
        ("SELECT 1 FROM u WHERE n = $x$ {username} $x$", "{username} stands in quotes"),
        ("SELECT 1 -- {username}\n", "{username} stands in quotes or in a comment"),
        ("SELECT 1 /* {username} */", "{username} stands in quotes or in a comment"),
        ("SELECT 1 FROM u WHERE n = {user}", "{user} is not known; there are {username}"),
        ("SELECT 1 FROM u WHERE p = {password}", "{password} is not known"),
        ("SELECT 1 FROM u WHERE p = {}", "{} is not known"),
        ("SELECT 1 FROM u", "it is the same for all clients"),
        ("SELECT 1 FROM u WHERE a = {address}", "it is the same for all clients"),
        ("", "it is the same for all clients"),
    ],
)
def test_queries_that_cannot_be(query: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        prepared(query, Sqlite("/x"))
    assert said in str(error.value)


def test_a_query_as_drivers_take_it() -> None:
    query = "SELECT '{a}','so''s 5%' FROM u WHERE n = {username} AND m % 2 = 0 -- isn't\nOR c= {client_id}"
    assert prepared(query, Sqlite("/x")) == query.replace("{username}", ":username").replace(
        "{client_id}", ":client_id"
    )
    assert prepared(query, Mysql("mysql://u@localhost/a", None, 5.0)) == prepared(
        query, Postgresql("postgresql://localhost/a", None, 5.0)
    )
    assert prepared(query, Postgresql("postgresql://localhost/a", None, 5.0)) == (
        "SELECT '{a}','so''s 5%%' FROM u WHERE n = %(username)s AND m %% 2 = 0 -- isn't\nOR c= %(client_id)s"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "users.db"}, "expected sqlite:///path, or postgresql:// or mysql://"),
        ({"url": "oracle://a/b"}, "expected sqlite:///path, or postgresql:// or mysql://"),
        ({"url": "mysql://u:secret@10.0.0.1/a"}, "10.0.0.1 is another machine: add ?sslmode=verify-full"),
        ({"url": "mysql://localhost/a"}, "expected a user and a database"),
        ({"url": "mysql://u@localhost/"}, "expected a user and a database"),
        ({"url": "mysql://u@/a"}, "expected a host"),
        ({"url": "mysql://u@localhost/a?unix_socket=/x"}, "expected a host"),
        ({"url": "mysql://u@localhost:port/a"}, "url: Port could not be cast"),
        ({"url": "mysql://u@localhost/a?ssl_ca=/x"}, "ssl_ca is not known; there are unix_socket, sslmode"),
        ({"url": "mysql://u@localhost/a?sslmode=prefer"}, "sslmode is one of disable, require"),
        ({"url": "mysql://u@localhost/a?sslrootcert=/x"}, "for another sslmode than disable"),
        ({"url": "mysql://u@db.example/a?sslmode=disable&sslcert=/x"}, "for another sslmode than disable"),
        ({"url": "mysql://u@h/a?sslmode=require&sslcert=/x"}, "go together"),
        ({"url": "mysql://u@h/a?sslmode=verify-ca&sslrootcert=/nowhere/x"}, "/nowhere/x: No such file"),
        ({"url": "sqlite://"}, "expected the whole path"),
        ({"url": "sqlite:////"}, "expected the whole path"),
        ({"url": "sqlite://users.db"}, "expected the whole path"),
        ({"timeout": 0.0}, "more than 0"),
        ({"at_once": 0}, "more than 0"),
        ({"password_file": "x"}, "not for SQLite"),
        ({"url": "postgresql://db.example/a"}, "db.example is another machine: add ?sslmode=verify-full"),
        ({"url": "postgresql:///a?host=10.0.0.1"}, "10.0.0.1 is another machine"),
        ({"url": "postgresql://u:secret@10.0.0.1/a"}, "10.0.0.1 is another machine"),
        ({"url": "postgresql://h/a", "password_file": "/nowhere/x"}, "/nowhere/x: cannot be read"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        SqlAuthenticator(replace(SqlSettings("sqlite:///x", QUERY), **settings))
    assert said in str(error.value)
    assert "secret" not in str(error.value)


# -- databases that are not there, and come back --


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    one = SqlAuthenticator(SqlSettings(f"sqlite://{tmp_path}/none.db", QUERY))
    verdict = await one.authenticate(ANA)
    assert verdict.reason_code == ReasonCode.SERVER_UNAVAILABLE
    assert verdict.why.endswith("none.db: unable to open database file")
    assert not (tmp_path / "none.db").exists()


class Scripted(Driver):
    """Does what it is told, in turn: True answers, False raises."""

    def __init__(self, *connects: bool) -> None:
        self.connects = [*connects]
        self.made: list[ScriptedConnection] = []
        self.gate = threading.Event()
        self.gate.set()

    def marker(self, name: str) -> str:
        return "?"

    def connect(self, seconds: float) -> Connection:
        if self.connects and not self.connects.pop(0):
            raise OSError("nobody there")
        self.made.append(ScriptedConnection(self))
        return self.made[-1]

    def why(self, error: Exception) -> str:
        return str(error)


class ScriptedConnection(Connection):
    def __init__(self, driver: Scripted) -> None:
        self.driver = driver
        self.is_dead = False
        self.was_cut = threading.Event()
        self.is_closed = False
        self.asked = 0

    def ask(self, query: str, values: Mapping[str, object]) -> list[Row]:
        self.asked += 1
        while not self.driver.gate.wait(0.001):
            if self.was_cut.is_set():
                raise OSError("cut")
        if self.is_dead:
            raise OSError("server closed the connection")
        return [Row({"n": self.asked})]

    def cut(self) -> None:
        self.was_cut.set()

    def close(self) -> None:
        self.is_closed = True


def asking(driver: Driver, timeout: float = 30.0, at_once: int = 1, waiting: int = 10) -> Database:
    return Database(driver, timeout=timeout, at_once=at_once, waiting=waiting)


async def test_a_connection_that_has_died_is_replaced_once() -> None:
    driver = Scripted()
    database = asking(driver)
    await database.ask("", {})
    await database.ask("", {})
    driver.made[0].is_dead = True
    assert (await database.ask("", {}))[0].values == {"n": 1}
    assert [one.is_closed for one in driver.made] == [True, False]
    driver.made[1].is_dead = True
    driver.connects = [False]
    with pytest.raises(DatabaseFailed, match="nobody there"):
        await database.ask("", {})


async def test_it_is_tried_again_with_pauses() -> None:
    now = [1000.0]
    driver = Scripted(*[False] * 9)
    database = Database(driver, timeout=30.0, at_once=1, waiting=1, clock=lambda: now[0])
    pauses = []
    while driver.connects:
        left = len(driver.connects)
        with pytest.raises(DatabaseFailed, match="nobody there"):
            await database.ask("", {})
        if len(driver.connects) < left:
            pauses.append(now[0])
        now[0] += 0.25
    assert [after - before for before, after in pairwise(pauses)] == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        30,
        30,
    ]
    now[0] += 30.0
    await database.ask("", {})


async def test_who_never_answers_holds_up_nobody() -> None:
    driver = Scripted()
    driver.gate.clear()
    database = asking(driver, timeout=0.05)
    for number in range(2):
        with pytest.raises(DatabaseFailed, match=r"there is no answer after 0\.05 s"):
            await database.ask("", {})
        await asyncio.get_running_loop().run_in_executor(database._pool, lambda: None)  # its thread is free
        assert driver.made[number].is_closed


async def test_so_many_wait_and_no_more() -> None:
    driver = Scripted()
    driver.gate.clear()
    database = asking(driver, waiting=1)
    tasks = [asyncio.create_task(database.ask("", {})) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(DatabaseFailed, match="2 questions wait"):
        await database.ask("", {})
    driver.gate.set()
    assert len(await asyncio.gather(*tasks)) == 2
    assert len(driver.made) == 1


def test_one_address_has_its_share() -> None:
    shares = Shares(2)
    with shares.one_of("a"), shares.one_of("a"), shares.one_of("b"):
        with pytest.raises(ShareTaken, match="2 logins from a wait"), shares.one_of("a"):
            pass
    assert not shares._open


async def test_a_broker_with_users_in_a_database(one: SqlAuthenticator) -> None:
    async with curier.Broker("tcp://127.0.0.1:0", authenticator=one) as broker:
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", username="ana", password=TOKEN):
            (connection,) = broker.core.connections.values()
            assert connection.identity == "ana"
