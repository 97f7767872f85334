"""Certificates that change under a running listener: what is taken, when, and what is told of it."""

from __future__ import annotations

import datetime
import logging
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from curier.errors import ConfigError
from curier.listeners import Listener
from curier.net import certificate_files, certificates, contexts
from curier.net.certificates import (
    LATER_SECONDS,
    LOOK_SECONDS,
    MOST_TRIES,
    RETRY_SECONDS,
    Certificates,
)
from tests.net.pki import DAY, NOW, RSA, Ends, client_context, loaded, put, revocations, serial, write_pair

ROOT = trustme.CA()
SERVER = ROOT.issue_cert("broker.test")
CLIENT = ROOT.issue_cert("dev1@example.org", common_name="dev1")
TLS12 = ssl.TLSVersion.TLSv1_2


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now

    def is_at(self, moment: datetime.datetime) -> None:
        self.now = moment.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def hold(directory: Path, clock: Clock, made: trustme.LeafCert = SERVER, **settings: Any) -> Certificates:
    certificate, key = write_pair(directory, made, root=ROOT)
    listener = Listener(
        "tls://127.0.0.1:8883", name="front", **{"certificate": certificate, "key": key, **settings}
    )
    return Certificates(listener, clock)


def shown(held: Certificates) -> int:
    return Ends(held.context(), client_context(ROOT)).shake().serial


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.DEBUG) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno >= level]
    caplog.clear()
    return found


@pytest.fixture(autouse=True)
def hear(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "curier.tls")


def test_what_is_wrong_names_the_listener(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(ConfigError, match=r"^front: key .*server\.key: there is no such file$"):
        hold(tmp_path, clock, key=tmp_path / "none" / "server.key")
    with pytest.raises(ConfigError, match=r"^tls://127.0.0.1:8883: TLS needs a certificate"):
        Certificates(Listener("tls://127.0.0.1"))


def test_unchanged_files_are_not_read(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = hold(tmp_path, clock)
    monkeypatch.setattr(certificates, "build", None)
    before = held.context()
    assert held.look() == LOOK_SECONDS
    assert held.context() is before
    assert lines(caplog) == []


def test_a_renewed_pair(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    held = hold(tmp_path, clock)
    old = Ends(held.context(), client_context(ROOT)).shake()
    new = ROOT.issue_cert("broker.test")
    write_pair(tmp_path, new, root=ROOT)
    assert held.look() == LOOK_SECONDS
    assert shown(held) == serial(new)
    (said,) = lines(caplog)
    assert said.startswith(f"front: certificate {tmp_path}/server.pem is new for new connections: of ")
    assert f"serial {serial(new):x}, key ECDSA secp256r1, until " in said
    assert f"; before: of {name()}, serial {serial(SERVER):x}, " in said
    old.server.write(b"still here")
    assert old.client.read(99) == b"still here"


def test_another_issuer_or_kind_of_key_is_told(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    held = hold(tmp_path, clock)
    write_pair(tmp_path, ROOT.issue_cert("broker.test", key_type=RSA), root=ROOT)
    held.look()
    assert "has another issuer or kind of key than before" in lines(caplog, logging.WARNING)[0]
    other = trustme.CA()
    write_pair(tmp_path, other.issue_cert("broker.test", key_type=RSA), root=other)
    held.look()
    # trustme gives all its authorities names of their own
    assert "has another issuer or kind of key than before" in lines(caplog, logging.WARNING)[0]


@pytest.mark.parametrize("by_acme", [True, False])
def test_the_first_certificate_by_acme_is_no_change_of_issuer(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, by_acme: bool
) -> None:
    own = trustme.CA()  # signed by itself, as what stands there until then
    settings = {"acme": "mail@broker.test", "acme_names": ("broker.test",)} if by_acme else {}
    hold(tmp_path, clock)
    certificate = put(tmp_path / "server.pem", own.cert_pem.bytes())
    key = put(tmp_path / "server.key", own.private_key_pem.bytes())
    listener = Listener("tls://127.0.0.1:8883", certificate=certificate, key=key, **settings)  # type: ignore[arg-type]
    held = Certificates(listener, clock)
    caplog.clear()
    write_pair(tmp_path, ROOT.issue_cert("broker.test"), root=ROOT)
    held.look()
    told = any("has another issuer" in line for line in lines(caplog))
    assert told is not by_acme


def test_certificate_and_key_that_come_one_after_the_other(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    held = hold(tmp_path, clock)
    new = ROOT.issue_cert("broker.test")
    certificate = (tmp_path / "server.pem").read_bytes()
    write_pair(tmp_path, new, root=ROOT)
    put(tmp_path / "server.pem", certificate)
    assert held.look() == RETRY_SECONDS
    assert held.look() == RETRY_SECONDS
    assert shown(held) == serial(SERVER)
    assert lines(caplog) == []  # it may be all right in a moment
    write_pair(tmp_path, new, root=ROOT)
    assert held.look() == LOOK_SECONDS
    assert shown(held) == serial(new)
    assert len(lines(caplog)) == 1


def test_files_that_stay_wrong_are_told_once_a_day(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    held = hold(tmp_path, clock)
    context = held.context()
    put(tmp_path / "server.key", CLIENT.private_key_pem.bytes())
    assert [held.look() for _ in range(4)] == [RETRY_SECONDS] * 3 + [LOOK_SECONDS]
    (said,) = lines(caplog, logging.ERROR)
    assert said.startswith(
        f"front: certificate {tmp_path}/server.pem, key {tmp_path}/server.key: the key is not "
    )
    end = loaded(SERVER).not_valid_after_utc
    assert said.endswith(
        f"; the certificate of before is kept, which is valid until {end:%Y-%m-%d %H:%M} UTC"
    )
    assert held.context() is context
    for _ in range(60):
        clock.now += LATER_SECONDS
        assert held.look() == LOOK_SECONDS
    assert lines(caplog) == []
    clock.now += 86_400
    held.look()
    assert len(lines(caplog, logging.ERROR)) == 1
    put(tmp_path / "server.key", SERVER.private_key_pem.bytes())
    held.look()
    assert shown(held) == serial(SERVER)
    (tmp_path / "server.key").unlink()
    for _ in range(4):
        held.look()
    (said,) = lines(caplog, logging.ERROR)
    assert "there is no such file" in said


def test_what_fails_though_no_file_changes_is_tried_each_minute(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(tmp_path, clock)
    new = ROOT.issue_cert("broker.test")
    write_pair(tmp_path, new, root=ROOT)
    tries = 0

    def fail(listener: Listener) -> None:
        nonlocal tries
        tries += 1
        raise ConfigError("the disk has its bad day")

    with monkeypatch.context() as patch:
        patch.setattr(certificates, "build", fail)
        for _ in range(9):
            held.look()
        assert tries == MOST_TRIES
        clock.now += LATER_SECONDS
        held.look()
        held.look()
        assert tries == MOST_TRIES + 1
    held.look()
    assert shown(held) == serial(SERVER)
    clock.now += LATER_SECONDS
    held.look()
    assert shown(held) == serial(new)


def test_a_file_that_is_gone_for_a_moment(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    held = hold(tmp_path, clock)
    (tmp_path / "server.pem").rename(tmp_path / "away")
    assert held.look() == RETRY_SECONDS
    (tmp_path / "away").rename(tmp_path / "server.pem")
    assert held.look() == LOOK_SECONDS
    assert lines(caplog) == []
    assert shown(held) == serial(SERVER)


def test_the_links_of_certbot(tmp_path: Path, clock: Clock) -> None:
    """``live/cert.pem`` is a link to ``archive/cert1.pem``, then to ``archive/cert2.pem``."""
    live = tmp_path / "live"
    live.mkdir()
    leaves = [SERVER, *(ROOT.issue_cert("broker.test") for _ in range(2))]

    def point(number: int) -> None:
        pair = write_pair(tmp_path, leaves[number], f"archive{number}", ROOT)
        for path, name in zip(pair, ("server.pem", "server.key"), strict=True):
            (live / "new").symlink_to(path)
            (live / "new").rename(live / name)

    point(0)
    held = hold(tmp_path, clock, certificate=live / "server.pem", key=live / "server.key")
    for number in (1, 2):
        point(number)
        held.look()
        assert shown(held) == serial(leaves[number])


def test_the_renamed_folder_of_kubernetes(tmp_path: Path, clock: Clock) -> None:
    """``tls.crt`` links to ``..data/tls.crt``, and ``..data`` to a folder that is another one each time."""
    leaves = [SERVER, *(ROOT.issue_cert("broker.test") for _ in range(3))]
    volume = tmp_path / "volume"
    volume.mkdir()

    def swap(number: int) -> None:
        folder = volume / f"..{number}"
        folder.mkdir()
        write_pair(folder, leaves[number], "tls", ROOT)
        (volume / "..tmp").symlink_to(folder.name)
        (volume / "..tmp").rename(volume / "..data")

    swap(0)
    for name in ("tls.pem", "tls.key"):
        (volume / name).symlink_to(f"..data/{name}")
    held = hold(tmp_path, clock, certificate=volume / "tls.pem", key=volume / "tls.key")
    for number in (1, 2, 3):
        swap(number)
        held.look()
        assert shown(held) == serial(leaves[number])


def test_times_that_go_back_and_files_made_anew(tmp_path: Path, clock: Clock) -> None:
    held = hold(tmp_path, clock)
    for _ in range(2):
        new = ROOT.issue_cert("broker.test")
        for path in (tmp_path / "server.pem", tmp_path / "server.key"):
            path.unlink()
        for path in write_pair(tmp_path, new, root=ROOT):
            os.utime(path, (1, 1))
        held.look()
        assert shown(held) == serial(new)


def test_files_that_change_while_they_are_read(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(tmp_path, clock)
    new = ROOT.issue_cert("broker.test")
    read = certificate_files.read

    def slowly(what: str, path: Path) -> bytes:
        found: bytes = read(what, path)
        if what == "key":
            write_pair(tmp_path, new, root=ROOT)
        return found

    monkeypatch.setattr(contexts, "read", slowly)
    with pytest.raises(ConfigError, match="change while they are read; the certificate of before is kept"):
        held.reload()
    monkeypatch.undo()
    held.look()
    assert shown(held) == serial(new)


def test_reload(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    held = hold(tmp_path, clock)
    before = held.context()
    held.reload()
    assert held.context() is not before  # and knows no sessions
    put(tmp_path / "server.pem", b"half")
    before = held.context()
    with pytest.raises(
        ConfigError, match=r"^front: .*; the certificate of before is kept, which is valid until"
    ):
        held.reload()
    assert held.context() is before
    assert shown(held) == serial(SERVER)


# ---- who may come in ----


def test_an_authority_that_is_taken_out_is_trusted_no_more(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    other = trustme.CA()
    theirs = other.issue_cert("dev2")
    ca = put(tmp_path / "ca.pem", ROOT.cert_pem.bytes() + other.cert_pem.bytes())
    held = hold(tmp_path, clock, client_ca=ca)
    Ends(held.context(), client_context(None, theirs)).shake()
    put(ca, ROOT.cert_pem.bytes())
    held.look()
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        Ends(held.context(), client_context(None, theirs)).shake()
    assert "signed by nobody in client_ca" in held.explain(raised.value)
    assert len(held.context().get_ca_certs()) == 1
    assert "front: client_ca is new for new connections" in lines(caplog)[0]


def test_a_certificate_that_is_taken_back(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    crl = put(tmp_path / "crl.pem", revocations(ROOT))
    ca = put(tmp_path / "ca.pem", ROOT.cert_pem.bytes())
    held = hold(tmp_path, clock, client_ca=ca, crl=crl)
    client = client_context(None, CLIENT, version=TLS12)
    first = Ends(held.context(), client).shake()  # as long as it is there, so is its session
    session = first.client.session
    put(crl, revocations(ROOT, CLIENT))
    held.look()
    assert "crl is new for new connections: that of" in lines(caplog)[0]
    for offered in (None, session):  # what was verified before does not help
        with pytest.raises(ssl.SSLCertVerificationError) as raised:
            Ends(held.context(), client, session=offered).shake()
        assert held.explain(raised.value) == "the client's certificate is not valid: certificate revoked"


def test_a_list_that_has_ended(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    begin, end = NOW - 9 * DAY, NOW - DAY
    ca = put(tmp_path / "ca.pem", ROOT.cert_pem.bytes())
    crl = put(tmp_path / "crl.pem", revocations(ROOT, begin=begin, end=end))
    held = hold(tmp_path, clock, client_ca=ca, crl=crl)
    (said,) = lines(caplog, logging.ERROR)
    assert f"ended on {end:%Y-%m-%d %H:%M} UTC: all clients of theirs are refused" in said
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        Ends(held.context(), client_context(None, CLIENT)).shake()
    assert held.explain(raised.value) == (
        f"a revocation list in crl {crl} is not valid now: that of {name()} is for "
        f"{begin:%Y-%m-%d %H:%M} UTC to {end:%Y-%m-%d %H:%M} UTC"
    )


def name() -> str:
    """As the root is called in logs."""
    return loaded(ROOT).subject.rfc4514_string()


def test_lists_are_warned_of_in_their_last_quarter(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ca = put(tmp_path / "ca.pem", ROOT.cert_pem.bytes())
    crl = put(tmp_path / "crl.pem", revocations(ROOT, begin=NOW, end=NOW + 40 * DAY))
    held = hold(tmp_path, clock, client_ca=ca, crl=crl)
    clock.is_at(NOW + 29 * DAY)
    held.look()
    assert lines(caplog) == []
    clock.is_at(NOW + 31 * DAY)
    held.look()
    held.look()
    (said,) = lines(caplog, logging.WARNING)
    assert f"crl {crl}: the list of {name()} ends on " in said


def test_why_a_client_is_refused(tmp_path: Path, clock: Clock) -> None:
    ca = put(tmp_path / "ca.pem", ROOT.cert_pem.bytes())
    other = trustme.CA()
    both = put(tmp_path / "both.pem", ROOT.cert_pem.bytes() + other.cert_pem.bytes())
    crl = put(tmp_path / "crl.pem", revocations(ROOT))
    held = hold(tmp_path, clock, client_ca=ca)
    expired = ROOT.issue_cert("d", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    for made, who, why in (
        (held, None, "the client sent no certificate, which this listener requires"),
        (held, expired, "the client's certificate is not valid: certificate has expired"),
        (held, other.issue_cert("d"), f"signed by nobody in client_ca {ca} ({name()})"),
        (
            hold(tmp_path, clock, client_ca=both, crl=crl),
            other.issue_cert("d"),
            "there is no revocation list of who signed the client's certificate",
        ),
    ):
        with pytest.raises(ssl.SSLError) as raised:
            Ends(made.context(), client_context(None, who)).shake()
        assert why in made.explain(raised.value)
    assert held.explain(ssl.SSLError()) == ""


def test_a_session_does_not_outlive_the_certificate_of_its_client(tmp_path: Path, clock: Clock) -> None:
    """TLS 1.2 resumes by number, whatever is asked for; the certificate is not verified again."""
    ca = put(tmp_path / "ca.pem", ROOT.cert_pem.bytes())
    crl = put(tmp_path / "crl.pem", revocations(ROOT, end=NOW + 5 * DAY))
    soon = ROOT.issue_cert("d", not_before=NOW - DAY, not_after=NOW + DAY)
    held = hold(tmp_path, clock, client_ca=ca, crl=crl)
    client = client_context(None, soon, version=TLS12)
    first = Ends(held.context(), client).shake()
    assert not first.server.session_reused
    assert held.refusal(first.server) == ""
    second = Ends(held.context(), client, session=first.client.session).shake()
    assert second.server.session_reused
    assert held.refusal(second.server) == ""
    clock.is_at(NOW + 2 * DAY)
    assert held.refusal(second.server) == "the client's certificate has ended since it was verified"
    assert held.refusal(first.server) == ""

    later = client_context(None, CLIENT, version=TLS12)
    other = Ends(held.context(), later).shake()  # as long as it is there, so is its session
    third = Ends(held.context(), later, session=other.client.session).shake()
    assert third.server.session_reused
    assert held.refusal(third.server) == ""
    clock.is_at(NOW + 6 * DAY)
    assert held.refusal(third.server).startswith("a revocation list in crl")


# ---- what will end ----


def test_ends_are_warned_of_daily(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    end = NOW + 40 * DAY
    held = hold(tmp_path, clock, ROOT.issue_cert("h", not_after=end))
    assert held.expires == end.timestamp()
    for days, expected in ((18, 0), (20, 1), (20.5, 0), (21.1, 1), (39.9, 1)):
        clock.is_at(NOW + days * DAY)
        held.look()
        said = lines(caplog, logging.WARNING)
        assert len(said) == expected
        assert all(f"ends on {end:%Y-%m-%d %H:%M} UTC, in {int(40 - days)} days" in one for one in said)
    clock.is_at(NOW + 41 * DAY)
    held.look()
    (ended,) = lines(caplog, logging.ERROR)
    assert ended.endswith(f"ended on {end:%Y-%m-%d %H:%M} UTC")


def test_short_lives_are_warned_of_later(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    held = hold(tmp_path, clock, ROOT.issue_cert("h", not_before=NOW, not_after=NOW + 6 * DAY))
    for days, expected in ((0, 0), (4, 0), (4.6, 1)):
        clock.is_at(NOW + days * DAY)
        held.look()
        assert len(lines(caplog)) == expected


def test_one_that_has_not_begun(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    hold(tmp_path, clock, ROOT.issue_cert("h", not_before=NOW + DAY, not_after=NOW + 60 * DAY))
    (said,) = lines(caplog)
    assert "is the clock right?" in said


def test_the_first_of_all_ends_counts(tmp_path: Path, clock: Clock) -> None:
    other = write_pair(tmp_path, ROOT.issue_cert("b", not_after=NOW + 30 * DAY), "b")
    assert hold(tmp_path, clock, certificates=(other,)).expires == (NOW + 30 * DAY).timestamp()
