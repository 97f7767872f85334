"""Users in a real PostgreSQL: types, errors, a server that is restarted, stands still, or is not there."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from curier.auth import Credentials, Verdict
from curier.auth.hashes import new_token
from curier.auth.sql import SqlAuthenticator, SqlSettings
from tests.conftest import require_peer
from tests.standing_still import stand_still

TOKEN, HASH = new_token()
QUERY = "SELECT * FROM users WHERE name = {username} AND name NOT LIKE '%-off'"
ANA = Credentials("c1", "ana", TOKEN.encode(), "192.0.2.1:5000", "tcp://0.0.0.0:1883", 5)


class Server:
    """A cluster of its own, on a port of its own, with the user "postgres" and the password "it's secret"."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        # PostgreSQL does not run as root.
        self.how: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        if self.how:
            shutil.chown(folder, "postgres", "postgres")
        self.secret = folder / "secret"
        self.secret.write_text("it's secret\n")
        self.secret.chmod(0o644)
        self.data = folder / "data"
        how = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={self.secret}", "--no-sync", "-E", "UTF8"]
        self.run("initdb", "-D", self.data, *how, "--locale=C")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.start()

    def run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **self.how)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -F -c logging_collector=off"
        self.run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.url, password="it's secret", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    programs = found[-1].parent if found else Path(require_peer("initdb")).parent
    folder = Path(tempfile.mkdtemp(prefix="curier-postgresql-"))
    server = Server(folder, programs)
    try:
        server.execute(
            "CREATE TABLE users (name text, password text, groups text[], expires_at timestamptz, "
            "claim_floor numeric, claim_admin boolean)",
            f"INSERT INTO users VALUES ('ana', '{HASH}', '{{a,b c}}', to_timestamp(2e9), 3.5, true)",
        )
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def asking(server: Server, **settings: Any) -> SqlAuthenticator:
    settings = {"query": QUERY, "password_file": str(server.secret), "timeout": 30.0, **settings}
    return SqlAuthenticator(SqlSettings(server.url, **settings))


async def test_users_and_what_else_is_known_of_them(server: Server) -> None:
    one = asking(server)
    assert await one.authenticate(ANA) == Verdict(
        0,
        identity="ana",
        groups=frozenset(("a", "b c")),
        claims={"floor": "3.5", "admin": "true"},
        expires_at=2e9,
    )
    assert (await one.authenticate(replace(ANA, password=b"other"))).why == "the password is wrong"
    for name in ("bob", "' OR '1'='1", "%(x)s", "%s", "%", "\\", "x'; DROP TABLE users; --", "ü\u200f"):
        assert (await one.authenticate(replace(ANA, username=name))).why == "there is no such user"


async def test_errors_are_told_without_secrets(server: Server) -> None:
    for query, said in (
        ("SELECT * FROM nothing WHERE name = {username}", 'relation "nothing" does not exist'),
        ("SELECT 1/0 AS password, {username}", "division by zero"),
        ("SELEC {username}", "syntax error"),
        ("SELECT {username} AS name", "the query gives no column named password"),
    ):
        verdict = await asking(server, query=query).authenticate(ANA)
        assert verdict.reason_code == 0x88
        assert said in verdict.why
    wrong = server.folder / "wrong"
    wrong.write_text("wrong secret")
    verdict = await asking(server, password_file=str(wrong)).authenticate(ANA)
    assert (verdict.reason_code, "password authentication failed" in verdict.why) == (0x88, True)
    assert "wrong secret" not in verdict.why


async def test_many_at_once(server: Server) -> None:
    one = asking(server, at_once=3)
    verdicts = await asyncio.gather(*(one.authenticate(replace(ANA, client_id=f"c{n}")) for n in range(100)))
    assert all(verdict.accepted for verdict in verdicts)
    assert len(one._database._idle) == 3


async def test_a_query_that_takes_too_long(server: Server) -> None:
    one = asking(server, query=QUERY + " AND pg_sleep(60) IS NOT NULL", timeout=0.2)
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


async def test_a_server_that_stands_still(server: Server) -> None:
    """With the connection open, and while one is made."""
    one, fresh = asking(server), asking(server, timeout=0.3)
    assert (await one.authenticate(ANA)).accepted
    one._database._timeout = 0.3  # type: ignore[misc]  # it may have taken longer to connect
    with psycopg.connect(server.url, password="it's secret") as connection:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'curier'")
        children = [int(row[0]) for row in found]
    postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
    for pid in (postmaster, *children):
        stand_still(pid)
    try:
        for asked in (one, fresh):
            verdict = await asked.authenticate(ANA)
            assert verdict.reason_code == 0x88
    finally:
        for pid in (postmaster, *children):
            os.kill(pid, signal.SIGCONT)
