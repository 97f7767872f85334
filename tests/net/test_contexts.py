"""The contexts of a listener: what they demand, whom they let in, what they say of files that are wrong."""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from curier.errors import ConfigError
from curier.listeners import Listener
from curier.net.contexts import Built, Chooser, build
from tests.net.pki import (
    DAY,
    NOW,
    RSA,
    Ends,
    chain_of,
    client_context,
    loaded,
    put,
    revocations,
    serial,
    somebody,
    write_pair,
)

ROOT = trustme.CA()
SERVER = ROOT.issue_cert("broker.test", "127.0.0.1")
CLIENT = ROOT.issue_cert("client@example.org", common_name="dev1")
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def listener(directory: Path, made: trustme.LeafCert = SERVER, **settings: Any) -> Listener:
    certificate, key = write_pair(directory, made, root=ROOT)
    return Listener("tls://127.0.0.1:0", **{"certificate": certificate, "key": key, **settings})


def ca_file(directory: Path, *authorities: trustme.CA, name: str = "ca.pem") -> Path:
    return put(directory / name, chain_of([one.cert_pem for one in authorities]))


def refused(built: Built, client: ssl.SSLContext) -> str:
    """What OpenSSL says of a client that is refused."""
    with pytest.raises(ssl.SSLError) as raised:
        Ends(built.context, client).shake()
    return getattr(raised.value, "verify_message", "") or raised.value.reason or ""


def fails(made: Listener) -> str:
    with pytest.raises(ConfigError) as raised:
        build(made)
    return str(raised.value)


# ---- what is agreed to ----


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_handshake(tmp_path: Path, version: ssl.TLSVersion) -> None:
    built = build(listener(tmp_path))
    ends = Ends(built.context, client_context(ROOT, version=version)).shake()
    assert ends.serial == serial(SERVER)
    assert built.warnings == ()


def test_the_lowest_version(tmp_path: Path) -> None:
    built = build(listener(tmp_path, lowest_tls="1.3"))
    assert refused(built, client_context(version=TLS12)) == "UNSUPPORTED_PROTOCOL"
    Ends(built.context, client_context(version=TLS13)).shake()
    assert build(listener(tmp_path)).context.minimum_version == TLS12


def test_nobody_negotiates_anew(tmp_path: Path) -> None:
    assert build(listener(tmp_path)).context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(
    ("url", "alpn", "offered", "agreed"),
    [
        ("tls://h", (), ["mqtt"], "mqtt"),
        ("tls://h", (), ["x-amzn-mqtt-ca"], None),
        ("tls://h", ("x-amzn-mqtt-ca",), ["x-amzn-mqtt-ca"], "x-amzn-mqtt-ca"),
        ("tls://h", (), [], None),
        ("tls://h", (), ["http/1.1"], None),
        ("wss://h:1", (), ["h2", "http/1.1"], "http/1.1"),
        ("wss://h:1", (), ["h2"], None),
    ],
)
def test_protocols(
    tmp_path: Path, url: str, alpn: tuple[str, ...], offered: list[str], agreed: str | None
) -> None:
    certificate, key = write_pair(tmp_path, SERVER)
    built = build(Listener(url, certificate=certificate, key=key, alpn=alpn))
    client = client_context()
    if offered:
        client.set_alpn_protocols(offered)
    assert Ends(built.context, client).shake().server.selected_alpn_protocol() == agreed


def test_weak_ciphers_are_taken_and_told_loudly(tmp_path: Path) -> None:
    made = listener(tmp_path, ROOT.issue_cert("h", key_type=RSA), ciphers="AES128-SHA:@SECLEVEL=0")
    first, second = build(made).warnings
    assert "ciphers: weak ones are among them" in first
    assert "AES128-SHA" in first
    assert "@SECLEVEL=0" in second
    client = client_context(version=TLS12)
    client.set_ciphers("AES128-SHA:@SECLEVEL=0")
    assert Ends(build(made).context, client).shake().server.cipher() == ("AES128-SHA", "SSLv3", 128)
    assert build(listener(tmp_path)).warnings == ()
    assert build(listener(tmp_path, ciphers="ECDHE+AESGCM")).warnings == ()


# ---- settings that cannot be ----


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"certificate": None, "key": None}, "TLS needs a certificate"),
        ({"client_certificates": "required"}, "needs a client_ca"),
        ({"client_certificates": "sometimes"}, "none, optional or required"),
        ({"crl": "crl.pem"}, "crl is about certificates of clients"),
        ({"identity": "dns"}, "identity is about"),
        ({"partial_chain": True}, "partial_chain is about"),
        ({"lowest_tls": "1.1"}, 'lowest_tls is "1.2" or "1.3"'),
        ({"lowest_tls": "1.3", "ciphers": "ECDHE+AESGCM"}, "leave one of them out"),
        ({"ciphers": "nonsense"}, "OpenSSL knows none of them"),
        ({"alpn": ("h2",)}, "h2 is HTTP/2"),
        ({"alpn": ("",)}, "1 to 255 ASCII"),
        ({"alpn": ("ü",)}, "1 to 255 ASCII"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    assert said in fails(listener(tmp_path, **settings))


# ---- files that are wrong ----


def test_certificate_and_key_in_one_file(tmp_path: Path) -> None:
    path = put(tmp_path / "both.pem", SERVER.private_key_and_cert_chain_pem.bytes())
    Ends(build(Listener("tls://h", certificate=path)).context, client_context(ROOT)).shake()


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    made = listener(tmp_path)
    put(tmp_path / "server.key", CLIENT.private_key_pem.bytes())
    assert fails(made).endswith("the key is not that of the certificate")


def test_a_chain_in_the_wrong_order(tmp_path: Path) -> None:
    leaf = ROOT.create_child_ca().issue_cert("h")
    made = listener(tmp_path, leaf)
    put(tmp_path / "server.pem", chain_of(leaf.cert_chain_pems[::-1]))
    assert "wrong order: the key is that of certificate 2 in the file" in fails(made)


def test_intermediates_in_the_wrong_order_are_told(tmp_path: Path) -> None:
    leaf = ROOT.create_child_ca().create_child_ca().issue_cert("h")
    first, *above = leaf.cert_chain_pems
    made = listener(tmp_path, leaf)
    assert build(made).warnings == ()
    put(tmp_path / "server.pem", chain_of([first, *above[::-1]]))
    (said,) = build(made).warnings
    assert "did not sign the one before" in said


def test_a_leaf_without_who_signed_it_is_told(tmp_path: Path) -> None:
    child = ROOT.create_child_ca()
    leaf = child.issue_cert("h")
    made = listener(tmp_path, leaf)
    put(tmp_path / "server.pem", leaf.cert_chain_pems[0].bytes())
    built = build(made)
    (said,) = built.warnings
    assert "give the whole chain (fullchain.pem)" in said
    assert refused(built, client_context(ROOT)) == "TLSV1_ALERT_UNKNOWN_CA"  # by who knows the root alone


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("server.pem", b"", "expected certificates in PEM; it is empty"),
        ("server.pem", b"hello", "it has no line -----BEGIN"),
        ("server.pem", b"\x30\x82\x01", "it is DER or PKCS#12"),
        ("server.pem", SERVER.private_key_pem.bytes(), "it has EC PRIVATE KEY"),
        ("server.pem", SERVER.cert_chain_pems[0].bytes()[:300], "cannot be read"),
        (
            "server.key",
            SERVER.cert_chain_pems[0].bytes(),
            "expected a private key in PEM; it has CERTIFICATE",
        ),
        ("server.key", b"", "expected a private key in PEM; it is empty"),
        ("server.key", SERVER.private_key_pem.bytes()[:100], "OpenSSL does not take them"),
    ],
    ids=[
        *("nothing", "text", "DER", "a key", "a torn certificate"),
        *("a certificate", "no key", "a torn key"),
    ],
)
def test_what_a_file_has_instead(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    made = listener(tmp_path)
    put(tmp_path / name, data)
    text = fails(made)
    assert said in text
    assert str(tmp_path / name) in text


def test_files_that_are_not_there(tmp_path: Path) -> None:
    made = listener(tmp_path)
    (tmp_path / "server.key").unlink()
    assert fails(made).endswith("server.key: there is no such file")
    (tmp_path / "server.key").symlink_to(tmp_path / "gone.key")
    assert "it is a link to" in fails(made)
    (tmp_path / "server.key").unlink()
    (tmp_path / "server.key").mkdir()
    assert fails(made).endswith("server.key: expected a file")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    made = listener(tmp_path)
    (tmp_path / "server.key").unlink()
    os.mkfifo(tmp_path / "server.key")
    assert fails(made).endswith("expected a file")


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that every user may enter."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_a_key_that_this_user_may_not_read(open_path: Path) -> None:
    made = listener(open_path)
    (open_path / "server.pem").chmod(0o644)
    (open_path / "server.key").chmod(0o400 if os.geteuid() == 0 else 0)
    with somebody():
        text = fails(made)
    assert f"key {open_path}/server.key: user " in text
    assert "may not read it, which belongs to " in text
    assert "and has mode 0" in text
    assert f"setfacl -m u:{text.split('user ')[1].split()[0]}:r " in text


def test_a_folder_that_this_user_may_not_enter(open_path: Path) -> None:
    (open_path / "archive").mkdir()
    _, key = write_pair(open_path / "archive", SERVER)
    made = listener(open_path, key=open_path / "live.key")
    (open_path / "server.pem").chmod(0o644)
    (open_path / "live.key").symlink_to(key)
    (open_path / "archive").chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        with somebody():
            text = fails(made)
    finally:
        (open_path / "archive").chmod(0o700)
    assert f"may not enter the folder {open_path}/archive, which belongs to" in text
    assert f"chmod o+x {open_path}/archive" in text


def test_a_key_that_everybody_may_read_is_told(tmp_path: Path) -> None:
    made = listener(tmp_path)
    (tmp_path / "server.key").chmod(0o644)
    (said,) = build(made).warnings
    assert "every user of this machine may read it" in said


# ---- passwords ----


def encrypted(directory: Path, password: bytes) -> Path:
    key = serialization.load_pem_private_key(SERVER.private_key_pem.bytes(), None)
    how = serialization.BestAvailableEncryption(password)
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return put(directory / "encrypted.key", data)


def test_a_key_with_a_password(tmp_path: Path) -> None:
    key = encrypted(tmp_path, b"open sesame")
    secret = put(tmp_path / "secret", b"open sesame\nanother line\n")
    built = build(listener(tmp_path, key=key, key_password_file=secret))
    Ends(built.context, client_context(ROOT)).shake()
    put(secret, b"shut sesame\n")
    text = fails(listener(tmp_path, key=key, key_password_file=secret))
    assert text.endswith("encrypted.key: it does not open with key_password, or key_password_file")
    assert "sesame" not in text


def test_a_key_whose_password_is_among_the_settings(tmp_path: Path) -> None:
    key = encrypted(tmp_path, b"open sesame")
    made = listener(tmp_path, key=key, key_password="open sesame")
    Ends(build(made).context, client_context(ROOT)).shake()
    assert "sesame" not in repr(made)
    text = fails(listener(tmp_path, key=key, key_password="shut sesame"))
    assert "does not open" in text
    assert "sesame" not in text


def test_a_key_with_a_password_that_nobody_gave(tmp_path: Path) -> None:
    """And nobody is asked for it."""
    key = encrypted(tmp_path, b"open sesame")
    assert fails(listener(tmp_path, key=key)).endswith(
        "it is encrypted: give key_password, or key_password_file"
    )


@pytest.mark.parametrize("data", [b"", b"\nopen sesame", b"x" * 1024])
def test_a_password_file_without_one(tmp_path: Path, data: bytes) -> None:
    secret = put(tmp_path / "secret", data)
    assert "expected the password as its first line" in fails(listener(tmp_path, key_password_file=secret))


def test_a_wrong_order_is_told_of_encrypted_keys_too(tmp_path: Path) -> None:
    key = encrypted(tmp_path, b"open sesame")
    secret = put(tmp_path / "secret", b"open sesame")
    made = listener(tmp_path, key=key, key_password_file=secret)
    put(tmp_path / "server.pem", chain_of([ROOT.cert_pem, *SERVER.cert_chain_pems]))
    assert "wrong order" in fails(made)


# ---- names ----


def three_names(directory: Path, **settings: Any) -> tuple[Listener, dict[str, trustme.LeafCert]]:
    """A listener with certificates of other names than its first, one of them with two kinds of keys."""
    made = {
        "a": ROOT.issue_cert("a.example"),
        "b": ROOT.issue_cert("b.example", "bb.example"),
        "wild": ROOT.issue_cert("*.Wild.example", "xn--fa-hia.example"),
        "b_rsa": ROOT.issue_cert("b.example", key_type=RSA),
    }
    pairs = tuple(write_pair(directory, leaf, name, ROOT) for name, leaf in made.items())
    return listener(directory, certificates=pairs, **settings), made


@pytest.mark.parametrize(
    ("name", "which"),
    [
        (None, ""),
        ("a.example", "a"),
        ("A.EXAMPLE", "a"),
        ("a.example.", "a"),
        ("b.example", "b"),
        ("bb.example", "b"),
        ("x.wild.example", "wild"),
        ("wild.example", ""),
        ("y.x.wild.example", ""),
        ("xn--fa-hia.example", "wild"),
        ("unknown.example", ""),
        ("example", ""),
        ("x" * 63 + ".example", ""),
    ],
)
def test_the_name_chooses_the_certificate(tmp_path: Path, name: str | None, which: str) -> None:
    made, leaves = three_names(tmp_path)
    built = build(made)
    assert built.warnings == ()
    client = client_context(ROOT)
    # ECDSA, where there are both: RSA is for those who know nothing else.
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    client.maximum_version = TLS12
    assert Ends(built.context, client, name).shake().serial == serial(leaves.get(which, SERVER))


def test_an_address_for_a_name() -> None:
    """Some clients send it, against the rule (RFC 6066 section 3)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert Chooser({"127.0.0.1": context}).find("127.0.0.1") is context
    assert Chooser({"*.0.0.1": context}).find("") is None


def test_two_kinds_of_keys_for_one_name(tmp_path: Path) -> None:
    made, leaves = three_names(tmp_path)
    context = build(made).context
    for cipher, which in (("ECDHE-RSA-AES128-GCM-SHA256", "b_rsa"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "b")):
        client = client_context(ROOT, version=TLS12)
        client.set_ciphers(cipher)
        assert Ends(context, client, "b.example").shake().serial == serial(leaves[which])


def test_two_kinds_of_keys_for_clients_that_name_nobody(tmp_path: Path) -> None:
    rsa = ROOT.issue_cert("127.0.0.1", "broker.test", key_type=RSA)
    made = listener(tmp_path, certificates=(write_pair(tmp_path, rsa, "rsa"),))
    client = client_context(ROOT, version=TLS12)
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert Ends(build(made).context, client).shake().serial == serial(rsa)


def test_two_of_one_kind_for_one_name_are_told(tmp_path: Path) -> None:
    other = ROOT.issue_cert("broker.test")
    built = build(listener(tmp_path, certificates=(write_pair(tmp_path, other, "other", ROOT),)))
    (said,) = built.warnings
    assert "broker.test is in" in said
    assert Ends(built.context, client_context(ROOT), "broker.test").shake().serial == serial(SERVER)


def test_an_error_while_choosing_is_no_refusal() -> None:
    class Odd:
        def __init__(self) -> None:
            self.context = None

        def __setattr__(self, name: str, value: object) -> None:
            raise ValueError(name)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    connection: Any = Odd.__new__(Odd)
    Chooser({"a": context})(connection, "a", context)
    Chooser({"a": context})(connection, "\udcff" * 3, context)


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("name", [None, "a.example", "unknown.example"])
def test_no_name_changes_who_may_come_in(tmp_path: Path, name: str | None, version: ssl.TLSVersion) -> None:
    """OpenSSL would not take the demands of the context that a name leads to."""
    crl = put(tmp_path / "crl.pem", revocations(ROOT, CLIENT))
    made, _ = three_names(tmp_path, client_ca=ca_file(tmp_path, ROOT), crl=crl)
    context = build(made).context
    stranger = trustme.CA().issue_cert("dev1")
    for client, why in (
        (client_context(version=version), "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (client_context(None, CLIENT, version=version), "certificate revoked"),
        (client_context(None, stranger, version=version), "unable to get local issuer certificate"),
    ):
        with pytest.raises(ssl.SSLError) as raised:
            Ends(context, client, name).shake()
        assert why in (getattr(raised.value, "verify_message", ""), raised.value.reason)
    other = ROOT.issue_cert("dev2")
    Ends(context, client_context(None, other, version=version), name).shake()


# ---- certificates of clients ----


def test_required(tmp_path: Path) -> None:
    built = build(listener(tmp_path, client_ca=ca_file(tmp_path, ROOT)))
    assert refused(built, client_context(ROOT)) == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    ends = Ends(built.context, client_context(ROOT, CLIENT)).shake()
    assert ends.server.getpeercert(binary_form=True) == loaded(CLIENT).public_bytes(
        serialization.Encoding.DER
    )


def test_optional_is_none_or_a_good_one(tmp_path: Path) -> None:
    built = build(listener(tmp_path, client_ca=ca_file(tmp_path, ROOT), client_certificates="optional"))
    assert Ends(built.context, client_context(ROOT)).shake().server.getpeercert(binary_form=True) is None
    assert Ends(built.context, client_context(ROOT, CLIENT)).shake().server.getpeercert()
    expired = ROOT.issue_cert("dev1", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert refused(built, client_context(ROOT, expired)) == "certificate has expired"


def test_not_asked_for_though_there_is_an_authority(tmp_path: Path) -> None:
    made = listener(tmp_path, client_ca=ca_file(tmp_path, ROOT), client_certificates="none")
    assert build(made).context.verify_mode == ssl.CERT_NONE


def test_a_leaf_whose_intermediate_nobody_has(tmp_path: Path) -> None:
    child = ROOT.create_child_ca()
    leaf = child.issue_cert("dev1")
    built = build(listener(tmp_path, client_ca=ca_file(tmp_path, ROOT)))
    assert (
        refused(built, client_context(None, leaf, leaf_only=True)) == "unable to get local issuer certificate"
    )
    Ends(built.context, client_context(None, leaf)).shake()
    built = build(listener(tmp_path, client_ca=ca_file(tmp_path, ROOT, child)))
    Ends(built.context, client_context(None, leaf, leaf_only=True)).shake()


def test_an_intermediate_alone_is_trusted_where_that_is_said(tmp_path: Path) -> None:
    child = ROOT.create_child_ca()
    leaf = child.issue_cert("dev1")
    alone = ca_file(tmp_path, child)
    assert "none of its certificates leads to a root" in fails(listener(tmp_path, client_ca=alone))
    built = build(listener(tmp_path, client_ca=alone, partial_chain=True))
    Ends(built.context, client_context(None, leaf, leaf_only=True)).shake()
    assert "unable to get" in refused(built, client_context(None, CLIENT))
    other = trustme.CA()
    built = build(listener(tmp_path, client_ca=ca_file(tmp_path, child, other)))
    (said,) = built.warnings
    assert "is not in it: clients with certificates of" in said
    assert "unable to get" in refused(built, client_context(None, leaf, leaf_only=True))


def test_flags_are_the_same_on_every_python(tmp_path: Path) -> None:
    """Python 3.13 has begun to add some of its own in places."""
    assert build(listener(tmp_path)).context.verify_flags == ssl.VERIFY_X509_TRUSTED_FIRST


# ---- what was taken back ----


def with_crl(directory: Path, data: bytes, *authorities: trustme.CA) -> Listener:
    crl = put(directory / "crl.pem", data)
    return listener(directory, client_ca=ca_file(directory, *(authorities or (ROOT,))), crl=crl)


def test_several_lists_in_one_file(tmp_path: Path) -> None:
    other = trustme.CA()
    theirs, good = other.issue_cert("dev3"), other.issue_cert("dev4")
    built = build(with_crl(tmp_path, revocations(ROOT, CLIENT) + revocations(other, theirs), ROOT, other))
    assert refused(built, client_context(None, CLIENT)) == "certificate revoked"
    assert refused(built, client_context(None, theirs)) == "certificate revoked"
    Ends(built.context, client_context(None, good)).shake()
    assert built.warnings == ()


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [(NOW - 9 * DAY, NOW - DAY, "CRL has expired"), (NOW + DAY, NOW + 9 * DAY, "CRL is not yet valid")],
)
def test_a_list_that_is_not_valid_now_refuses_everybody(
    tmp_path: Path, begin: Any, end: Any, said: str
) -> None:
    built = build(with_crl(tmp_path, revocations(ROOT, begin=begin, end=end)))
    assert refused(built, client_context(None, CLIENT)) == said


def test_no_list_of_an_authority_is_told(tmp_path: Path) -> None:
    other = trustme.CA()
    built = build(with_crl(tmp_path, revocations(ROOT), ROOT, other))
    (said,) = built.warnings
    assert "there is no list of" in said
    assert refused(built, client_context(None, other.issue_cert("d"))) == "unable to get certificate CRL"
    Ends(built.context, client_context(None, CLIENT)).shake()


def test_an_intermediate_can_be_taken_back(tmp_path: Path) -> None:
    child = ROOT.create_child_ca()
    leaf = child.issue_cert("dev1")
    built = build(with_crl(tmp_path, revocations(ROOT, child) + revocations(child), ROOT, child))
    assert refused(built, client_context(None, leaf)) == "certificate revoked"


def test_a_list_in_another_form(tmp_path: Path) -> None:
    assert "openssl crl -inform DER" in fails(with_crl(tmp_path, b"\x30\x82"))
    assert "it has CERTIFICATE" in fails(with_crl(tmp_path, ROOT.cert_pem.bytes()))
    cut = revocations(ROOT) + revocations(ROOT)[:200]
    assert "one of them has no end" in fails(with_crl(tmp_path, cut))


# ---- sessions ----


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_resumption_is_welcome_without_certificates_of_clients(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    client = client_context(version=version)
    built = build(listener(tmp_path))
    session = Ends(built.context, client).shake().client.session
    assert session is not None
    assert session.has_ticket
    assert Ends(built.context, client, session=session).shake().server.session_reused


@pytest.mark.parametrize("without_tickets", [ssl.Options(0), ssl.OP_NO_TICKET])
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_resumption_with_certificates_of_clients(
    tmp_path: Path, version: ssl.TLSVersion, without_tickets: ssl.Options
) -> None:
    """There is none in TLS 1.3; in 1.2 it ends where anything has changed, see ``Certificates.refusal``."""
    ca = ca_file(tmp_path, ROOT)
    built, new = (build(listener(tmp_path, client_ca=ca)) for _ in range(2))
    client = client_context(None, CLIENT, version=version)
    client.options |= without_tickets
    first = Ends(built.context, client).shake()  # as long as it is there, so is its session
    session = first.client.session
    assert session is not None
    assert session.has_ticket == (version == TLS12 and not without_tickets)
    again = Ends(built.context, client, session=session).shake()
    assert again.server.session_reused == (version == TLS12)
    assert not Ends(new.context, client, session=session).shake().server.session_reused
