"""Users in a real MariaDB: types, names, errors, TLS; a server that is restarted, or stands still."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
import trustme

from curier.auth import Credentials, Verdict
from curier.auth.hashes import new_token
from curier.auth.sql import SqlAuthenticator, SqlSettings
from tests.conftest import require_peer
from tests.ports import free_port
from tests.standing_still import stand_still

TOKEN, HASH = new_token()
QUERY = "SELECT name AS identity, users.* FROM users WHERE name = {username} AND name NOT LIKE '%-off'"
ANA = Credentials("c1", "ana", TOKEN.encode(), "192.0.2.1:5000", "tcp://0.0.0.0:1883", 5)
DEADLINE = 60.0


class Server:
    """One of its own, with the user "curier" and the password "it's secret"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket = folder / "s"
        self.secret = folder / "secret"
        self.secret.write_text("it's secret\n")
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.pem")
        issued = self.ca.issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        self.as_root = ["--user=root"] if os.getuid() == 0 else []
        program = require_peer("mariadb-install-db")
        how = ["--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal"]
        command = [program, *how, "--skip-test-db", *self.as_root]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        self.port = free_port()
        self.url = f"mysql://curier@127.0.0.1:{self.port}/devices"
        self.start()

    def start(self, *more: str) -> None:
        tls = [f"--ssl-cert={self.folder}/cert.pem", f"--ssl-key={self.folder}/key.pem"]
        where = [f"--socket={self.socket}", f"--port={self.port}", "--bind-address=127.0.0.1"]
        # 2: what was committed outlives the process, which is killed; with 0 it is lost for a second.
        cheap = ["--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=2", "--skip-name-resolve"]
        pid = f"--pid-file={self.folder}/pid"
        command = [require_peer("mariadbd"), "--no-defaults", f"--datadir={self.data}", pid]
        with open(self.folder / "log", "ab") as log:
            self.popen = subprocess.Popen(
                [*command, *where, *cheap, *self.as_root, *(more or tls)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + DEADLINE
        while not self.answers():
            assert self.popen.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "MariaDB does not answer"
            time.sleep(0.02)

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        self.popen.kill()
        self.popen.wait(DEADLINE)

    def execute(self, *statements: str) -> None:
        with pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True) as connection:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    require_peer("mariadbd")
    folder = Path(tempfile.mkdtemp(prefix="curier-mysql-"))
    server = Server(folder)
    try:
        server.execute(
            "CREATE DATABASE devices CHARACTER SET utf8mb4",
            "CREATE USER curier@'%' IDENTIFIED BY 'it''s secret'",
            "GRANT SELECT ON devices.* TO curier@'%'",
            "CREATE TABLE devices.users (name varchar(50), password varchar(200), `groups` text, "
            "expires_at bigint, claim_floor decimal(4,1), claim_admin boolean, claim_old binary(2))",
            f"INSERT INTO devices.users VALUES ('ana', '{HASH}', 'a b', 2000000000, 3.5, true, NULL)",
        )
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def asking(server: Server, **settings: Any) -> SqlAuthenticator:
    how = {"url": server.url, "query": QUERY, "password_file": str(server.secret), "timeout": 30.0}
    return SqlAuthenticator(SqlSettings(**{**how, **settings}))


async def test_users_and_what_else_is_known_of_them(server: Server) -> None:
    for url in (server.url, f"mysql://curier@/devices?unix_socket={server.socket}"):
        one = asking(server, url=url)
        assert await one.authenticate(ANA) == Verdict(
            0, identity="ana", groups=frozenset("ab"), claims={"floor": "3.5", "admin": "1"}, expires_at=2e9
        )
        assert (await one.authenticate(replace(ANA, password=b"other"))).why == "the password is wrong"


NAMES = (
    "' OR '1'='1",
    "\\' OR 1=1 -- ",
    "\\",
    "'",
    '"',
    "`",
    "%(username)s",
    "%s",
    "%",
    "_",
    "X'61'",
    "\U0001f511",
)


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES"])
async def test_a_name_is_a_name(server: Server, mode: str) -> None:
    server.execute(f"SET GLOBAL sql_mode = '{mode}'")
    one = asking(server)
    asked = [replace(ANA, username=name) for name in NAMES]
    assert {(await one.authenticate(who)).why for who in asked} == {"there is no such user"}
    insert = "INSERT INTO devices.users (name, password) VALUES"
    server.execute(*(f"{insert} (X'{name.encode().hex()}', '{HASH}')" for name in NAMES))
    try:
        assert tuple([(await one.authenticate(who)).identity for who in asked]) == NAMES
    finally:
        server.execute("DELETE FROM devices.users WHERE name <> 'ana'")


async def test_names_that_are_alike_are_one_user(server: Server) -> None:
    """MySQL does not look at case and at blanks behind, and mostly not at accents."""
    for name in ("ANA", "ana ", "äna"):
        verdict = await asking(server).authenticate(replace(ANA, username=name))
        assert verdict.identity == "ana", name
    query = "SELECT password FROM users WHERE name = {username}"
    verdict = await asking(server, query=query).authenticate(ANA)
    assert (verdict.reason_code, "the query gives no identity" in verdict.why) == (0x88, True)


async def test_errors_are_told_without_secrets(server: Server) -> None:
    for query, said in (
        ("SELECT * FROM nothing WHERE name = {username}", "doesn't exist (1146)"),
        ("SELEC {username}", "error in your SQL syntax"),
        ("SELECT {username} AS identity", "the query gives no column named password"),
        ("SELECT {username} AS a; SELECT 1", "error in your SQL syntax"),
        (
            "SELECT password, name AS identity FROM users, seq_1_to_9 WHERE name = {username}",
            "more than one row",
        ),
    ):
        verdict = await asking(server, query=query).authenticate(ANA)
        assert verdict.reason_code == 0x88
        assert said in verdict.why
    wrong = server.folder / "wrong"
    wrong.write_text("wrong secret")
    verdict = await asking(server, password_file=str(wrong)).authenticate(ANA)
    assert (verdict.reason_code, "Access denied" in verdict.why) == (0x88, True)
    assert "wrong secret" not in verdict.why


async def test_no_more_rows_come_than_are_looked_at(server: Server) -> None:
    rows = await asking(server)._database.ask("SELECT seq FROM seq_1_to_100000000", {})
    assert [row.values for row in rows] == [{"seq": 1}, {"seq": 2}]


async def test_a_query_that_takes_too_long(server: Server) -> None:
    one = asking(server, query=QUERY + " AND sleep(60) = 0", timeout=0.5)
    assert (await one.authenticate(ANA)).reason_code == 0x88
    await asyncio.get_running_loop().run_in_executor(one._database._pool, lambda: None)


async def test_a_restart_is_not_noticed(server: Server) -> None:
    one = asking(server)
    assert (await one.authenticate(ANA)).accepted
    server.stop()
    server.start()
    assert (await one.authenticate(ANA)).accepted
    server.stop()
    try:
        verdict = await one.authenticate(ANA)
        assert verdict.reason_code == 0x88
        assert "refused" in verdict.why
    finally:
        server.start()


async def test_tls_as_it_is_asked_for(server: Server) -> None:
    ca = f"&sslrootcert={server.folder}/ca.pem"
    by_name = server.url.replace("127.0.0.1", "localhost")
    for url in (
        f"{by_name}?sslmode=verify-full{ca}",
        f"{server.url}?sslmode=verify-ca{ca}",
        f"{server.url}?sslmode=require",
    ):
        one = asking(
            server, url=url, query="SELECT name AS identity, password FROM users WHERE name={username}"
        )
        assert (await one.authenticate(ANA)).accepted
        (row,) = await one._database.ask("SHOW STATUS LIKE 'Ssl_version'", {})
        assert str(row.values["Value"]).startswith("TLS")
    for url, said in (
        (f"{server.url}?sslmode=verify-full{ca}", "IP address mismatch"),
        (f"{by_name}?sslmode=verify-full&sslrootcert=system", "certificate verify failed"),
    ):
        verdict = await asking(server, url=url).authenticate(ANA)
        assert (verdict.reason_code, said in verdict.why) == (0x88, True), verdict.why


async def test_a_server_without_tls_is_told_no_password(server: Server) -> None:
    server.stop()
    server.start("--skip-ssl")
    try:
        verdict = await asking(server, url=f"{server.url}?sslmode=require").authenticate(ANA)
        assert (verdict.reason_code, "SSL is required" in verdict.why) == (0x88, True)
    finally:
        server.stop()
        server.start()


async def test_a_server_that_stands_still(server: Server) -> None:
    """With the connection open, and while one is made."""
    one, fresh = asking(server), asking(server, timeout=0.3)
    assert (await one.authenticate(ANA)).accepted
    one._database._timeout = 0.3  # type: ignore[misc]  # it may have taken longer to connect
    stand_still(server.popen.pid)
    try:
        for asked in (one, fresh):
            assert (await asked.authenticate(ANA)).reason_code == 0x88
    finally:
        os.kill(server.popen.pid, signal.SIGCONT)
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as again:  # it goes on
        assert again.recv(1)
