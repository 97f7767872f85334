"""Certificates from an authority on loopback: asked for, proven, kept, renewed; and all that can go wrong."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509

from curier.acme import files
from curier.acme.certificate import placeholder, present
from curier.acme.keeper import LEAST_BETWEEN, MOST_WAIT, Keeper
from curier.acme.order import Order
from curier.acme.plan import Plan
from tests.acme.authority import Authority, Refusal, serving
from tests.ports import free_port

NAMES = ("broker.example", "mqtt.broker.example")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the authority again at once, not after a second."""
    monkeypatch.setattr("acme.client.time", SimpleNamespace(sleep=lambda _: time.sleep(0.01)))


@pytest.fixture
def authority() -> Iterator[Authority]:
    made = Authority(free_port())
    with serving(made):
        yield made


class World:
    """A keeper with a clock of its own, which can be restarted."""

    def __init__(self, authority: Authority, files: Path) -> None:
        self.plan = Plan(
            "mail@broker.example",
            NAMES,
            f"{authority.url}/directory",
            f"127.0.0.1:{authority.http_port}",
            str(files),
        )
        self.now = time.time()
        authority.clock = lambda: self.now
        self.said: list[tuple[str, str]] = []
        placeholder(self.plan)
        self.restart()

    def restart(self) -> None:
        self.keeper = Keeper([self.plan], lambda *line: self.said.append(line), lambda: self.now)

    def step(self) -> float:
        return self.keeper.step()

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and the keeper do what it does meanwhile."""
        until = self.now + seconds
        while self.now < until:
            self.step()
            self.now = min(until, max(self.now + 1.0, self.keeper.due(self.plan)))
        self.step()

    def come_to_next(self) -> None:
        """Let time pass until something is due, and have it done."""
        self.now = self.keeper.due(self.plan)
        self.step()

    @property
    def certificate(self) -> x509.Certificate:
        found = present(self.plan)
        assert found is not None
        return found

    def has_one(self) -> bool:
        return self.certificate.issuer != self.certificate.subject

    @property
    def errors(self) -> list[str]:
        return [words for level, words in self.said if level == "ERROR"]


@pytest.fixture
def world(authority: Authority, tmp_path: Path) -> World:
    return World(authority, tmp_path / "acme")


def test_a_certificate_is_proven_and_comes(world: World, authority: Authority) -> None:
    assert not world.has_one()
    world.step()
    assert world.errors == []
    assert authority.fetched == [*NAMES]
    names = world.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [*NAMES]
    assert world.certificate == x509.load_pem_x509_certificate(authority.certificates[0].encode())
    assert authority.accounts[0][1]["contact"] == ["mailto:mail@broker.example"]
    # Key and chain are in one file, which only its owner reads; nothing unfinished is left.
    assert b"PRIVATE KEY" in world.plan.certificate.read_bytes()
    left = sorted(path.name for path in Path(world.plan.files).rglob("*") if path.is_file())
    assert left == ["account-key.pem", "account.json", "certificate.pem", "tried.json"]
    for path in Path(world.plan.files).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    with pytest.raises(ConnectionRefusedError):  # and the port is closed again
        socket.create_connection(("127.0.0.1", authority.http_port))


def test_it_is_renewed_at_two_thirds_of_its_life(world: World, authority: Authority) -> None:
    world.step()
    first = world.certificate
    for _ in range(5):
        world.restart()
        assert world.step() > 0
    day = 86_400.0
    world.pass_by(59 * day)
    assert world.certificate == first
    assert len(authority.orders) == 1
    world.pass_by(5 * day)
    assert world.certificate != first
    assert len(authority.orders) == 2
    assert len(authority.accounts) == 1
    assert authority.log.count("newAccount") == 1
    assert world.certificate.public_key() != first.public_key()


def test_other_names_are_another_certificate(world: World, authority: Authority) -> None:
    world.step()
    world.plan = replace(world.plan, names=(*NAMES, "new.broker.example"))
    world.restart()
    world.step()
    assert len(authority.orders) == 1  # it has just been asked
    world.pass_by(LEAST_BETWEEN)
    assert len(authority.orders) == 2
    assert "new.broker.example" in str(world.certificate.extensions)


def test_a_wrong_answer(world: World, authority: Authority) -> None:
    """The name leads to another server."""
    other = Authority(0)
    with serving(other):
        right, authority.http_port = authority.http_port, int(other.url.rpartition(":")[2])
        world.step()
    assert not world.has_one()
    (words,) = world.errors
    assert "could not see that broker.example leads here: The answer was " in words
    assert "port 80 of broker.example has to reach acme_http" in words
    authority.http_port = right
    world.come_to_next()
    assert world.has_one()
    assert len(authority.orders) == 2  # the first one was lost


def test_failures_come_later_and_later(world: World, authority: Authority) -> None:
    authority.http_port = free_port()
    world.pass_by(3600)
    assert 3 <= len(authority.orders) <= 4  # Let's Encrypt takes five
    before = world.now
    for _ in range(3):
        world.come_to_next()
    assert world.now - before > MOST_WAIT


def test_a_restart_loop_does_not_ask_anew(world: World, authority: Authority) -> None:
    authority.http_port = free_port()
    world.step()
    asked = len(authority.log)
    for _ in range(20):
        world.restart()
        world.step()
    assert len(authority.log) == asked
    assert not world.has_one()


@pytest.mark.parametrize("when", ["newOrder", "directory", "newAccount", "certificate"])
def test_rate_limited(world: World, authority: Authority, when: str) -> None:
    world.step()
    first = world.certificate
    if when == "newAccount":
        (world.plan.authority / "account.json").unlink()
    authority.refusals[when] = Refusal(429, "rateLimited", "too many", Retry_After="40000")
    world.come_to_next()
    asked = authority.log.count(when)
    assert world.certificate == first
    assert "too many (rateLimited)" in world.errors[0]
    world.restart()
    world.pass_by(39_000)
    assert authority.log.count(when) - asked <= 1
    del authority.refusals[when]
    world.pass_by(41_000)
    assert world.certificate != first


def test_the_directory_is_down(authority: Authority, tmp_path: Path) -> None:
    down = Authority(free_port())
    with serving(down):
        world = World(down, tmp_path / "acme")
    world.step()
    assert not world.has_one()
    (words,) = world.errors
    assert f"{down.url}/directory cannot be reached: " in words
    assert "refused" in words
    with serving(down, int(down.url.rpartition(":")[2])):
        world.come_to_next()
    assert world.has_one()


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (Refusal(503, "serverInternal", "back soon"), "back soon (serverInternal)"),
        (Refusal(400, "rejectedIdentifier", "not\nthis one"), "not\\nthis one (rejectedIdentifier)"),
    ],
)
def test_what_an_authority_refuses_is_told(
    world: World, authority: Authority, refusal: Refusal, said: str
) -> None:
    authority.refusals["newOrder"] = refusal
    world.step()
    (words,) = world.errors
    assert said in words
    assert "The present one stays; the next try is at " in words


def test_no_http_01(world: World, authority: Authority) -> None:
    authority.offered = ["dns-01"]
    world.step()
    assert "it offers no HTTP-01 for broker.example" in world.errors[0]


def test_what_is_not_acme(world: World) -> None:
    world.plan = replace(world.plan, directory=world.plan.directory.replace("/directory", "/newNonce"))
    placeholder(world.plan)
    world.restart()
    world.step()
    assert len(world.errors) == 1
    assert "newNonce" in world.errors[0]


def test_a_port_that_is_taken(world: World, authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", authority.http_port)):
        world.step()
    assert (
        "cannot be listened on (Address already in use): have its program lead /.well-known"
        in world.errors[0]
    )
    assert authority.fetched == []
    world.come_to_next()
    assert world.has_one()
    assert len(authority.orders) == 1  # the same order was gone on with


def test_a_certificate_of_another_key_is_not_taken(world: World, authority: Authority) -> None:
    world.step()
    before = world.plan.certificate.read_bytes()
    authority.own_key = True
    world.come_to_next()
    assert "the certificate that came is for another key" in world.errors[0]
    assert world.plan.certificate.read_bytes() == before
    authority.own_key = False
    world.come_to_next()
    assert world.plan.certificate.read_bytes() != before


class Killed(BaseException):
    """The end of the process, there and then."""


@pytest.mark.parametrize("at", ["newOrder", "challenge", "finalize", "order", "certificate"])
def test_a_restart_in_the_middle(
    world: World, authority: Authority, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was asked last was heard, and its answer was not: no second account, order or key."""

    def kill(order: Order, response: object, **_: object) -> None:
        if f"/{at}" in response.url:  # type: ignore[attr-defined]
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Order, "_on_response", kill)
        with pytest.raises(Killed):
            world.step()
    assert not world.has_one()
    world.restart()
    world.step()
    assert authority.log.count("newAccount") == 1  # not at once
    world.come_to_next()
    assert world.has_one()
    assert len(authority.accounts) == 1
    assert len(authority.orders) == (2 if at == "newOrder" else 1)
    assert len(authority.certificates) == 1


def test_an_account_that_the_authority_lost(world: World, authority: Authority) -> None:
    world.step()
    first = world.certificate
    authority.forgets_accounts = True
    world.come_to_next()
    assert "(accountDoesNotExist)" in world.errors[0]
    authority.forgets_accounts = False
    authority.accounts.clear()
    world.come_to_next()
    assert world.certificate != first


def test_an_account_that_was_not_kept_is_found_by_its_key(world: World, authority: Authority) -> None:
    world.step()
    (world.plan.authority / "account.json").unlink()
    world.plan = replace(world.plan, mail="other@broker.example")
    world.restart()
    world.come_to_next()
    assert len(authority.accounts) == 1
    assert authority.accounts[0][1]["contact"] == ["mailto:other@broker.example"]
    assert len(authority.certificates) == 2


def test_a_clock_that_stays_months_ahead(world: World, authority: Authority) -> None:
    """What comes is due for renewal as soon as it comes."""
    world.now += 70 * 86_400.0
    authority.clock = lambda: world.now - 70 * 86_400.0
    world.pass_by(30 * 86_400)
    assert len(authority.orders) == 1


def test_what_cannot_be_written_is_told_and_not_tried_over_and_over(
    world: World, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", full)
        for _ in range(3):
            assert world.step() > 0
        assert len(world.errors) == 1
        assert "No space left on device" in world.errors[0]
    assert authority.log == []
    world.come_to_next()
    assert world.has_one()


def test_a_clock_that_was_years_ahead(world: World, authority: Authority) -> None:
    right = world.now
    authority.http_port, port = free_port(), authority.http_port
    world.now += 86_400 * 3650
    world.step()
    world.now, authority.http_port = right, port
    world.restart()
    world.step()
    assert world.has_one()


def test_short_lived_certificates_are_not_asked_for_without_end(world: World, authority: Authority) -> None:
    authority.life = timedelta(seconds=5)
    world.pass_by(LEAST_BETWEEN * 3.5)
    assert len(authority.orders) == 4


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "b" / "file"
    files.write(path, b"one")

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            files.write(path, b"two")
    assert files.read(path) == b"one"
    files.write(path, b"three")  # what was left unfinished is in nobody's way
    assert files.read(path) == b"three"
    assert [one.name for one in path.parent.iterdir()] == ["file"]
