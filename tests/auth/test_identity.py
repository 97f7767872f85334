"""Names out of clients' certificates: each kind, and what is refused."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from curier.auth.identity import identity
from curier.listeners import Names

KEY = ec.generate_private_key(ec.SECP256R1())
CN = NameOID.COMMON_NAME


def certificate(
    *subject: tuple[x509.ObjectIdentifier, str],
    other: Sequence[x509.GeneralName] = (),
    kind: _ASN1Type | None = None,
) -> bytes:
    """A certificate in DER, signed with its own key."""
    name = x509.Name([x509.NameAttribute(oid, value, kind) for oid, value in subject])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 7, day, day + datetime.timedelta(days=9))
    if other:
        builder = builder.add_extension(x509.SubjectAlternativeName(other), critical=False)
    return builder.sign(KEY, SHA256()).public_bytes(serialization.Encoding.DER)


DEVICE = certificate(
    (NameOID.ORGANIZATION_NAME, "Acme, Inc."),
    (CN, "dev/1 +#"),
    other=[
        x509.DNSName("Dev1.Example"),
        x509.UniformResourceIdentifier("urn:dev:1"),
        x509.RFC822Name("dev1@example.org"),
    ],
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("common-name", "dev/1 +#"),  # taken as it is: permissions match it literally
        ("dns", "dev1.example"),
        ("uri", "urn:dev:1"),
        ("email", "dev1@example.org"),
        ("subject", r"CN=dev/1 \+#,O=Acme\, Inc."),
        pytest.param("fingerprint", hashlib.sha256(DEVICE).hexdigest(), id="fingerprint"),
    ],
)
def test_each_kind_of_name(name: Names, found: str) -> None:
    assert identity(DEVICE, name) == (found, "")


def test_a_name_in_utf_16() -> None:
    assert identity(certificate((CN, "Ångström"), kind=_ASN1Type.BMPString), "common-name") == (
        "Ångström",
        "",
    )


NAMES: list[Names] = ["common-name", "dns", "uri", "email", "subject"]


@pytest.mark.parametrize("name", NAMES)
def test_no_such_name(name: Names) -> None:
    found, why = identity(certificate(), name)
    assert found == ""
    assert "has no " in why


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("common-name", certificate((CN, "a"), (CN, "b"))),
        ("common-name", certificate((CN, "a"), (CN, "a"))),
        ("dns", certificate(other=[x509.DNSName("a.example"), x509.DNSName("b.example")])),
        ("uri", certificate(other=[x509.UniformResourceIdentifier(f"urn:{one}") for one in "ab"])),
        ("email", certificate(other=[x509.RFC822Name(f"{one}@example.org") for one in "ab"])),
    ],
)
def test_of_two_none_is_chosen(name: Names, made: bytes) -> None:
    found, why = identity(made, name)
    assert found == ""
    assert "has 2 names of the kind" in why


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("admin\0x", "cannot be shown"),
        ("a\nb", "cannot be shown"),
        ("a\x7fb", "cannot be shown"),
        ("nim\u202eda", "cannot be shown"),
        ("  ", "is empty"),
        (" admin", "begins or ends with a blank"),
        ("admin ", "begins or ends with a blank"),
    ],
)
def test_names_that_could_deceive(text: str, said: str) -> None:
    found, why = identity(certificate((CN, text)), "common-name")
    assert found == ""
    assert said in why
    assert text.strip(" ") not in why or not text.strip()


@pytest.mark.parametrize("name", ["dns", "uri", "email"])
def test_nul_in_other_names(name: Names) -> None:
    names: dict[str, x509.GeneralName] = {
        "dns": x509.DNSName("a\0.example"),
        "uri": x509.UniformResourceIdentifier("urn:\0"),
        "email": x509.RFC822Name("a\0@example.org"),
    }
    found, why = identity(certificate(other=[names[name]]), name)
    assert found == ""
    assert "cannot be shown" in why


def test_nul_in_the_subject() -> None:
    found, why = identity(certificate((NameOID.ORGANIZATION_NAME, "a\0"), (CN, "b")), "subject")
    assert found == ""
    assert "cannot be shown" in why


def test_too_long() -> None:
    made = certificate(other=[x509.UniformResourceIdentifier("u" * 65_536)])
    assert "longer than 65535 bytes" in identity(made, "uri")[1]


@pytest.mark.parametrize(
    "made",
    [b"", b"no certificate", DEVICE[:-1], DEVICE[:40]],
    ids=["nothing", "text", "all but a byte", "its beginning"],
)
def test_what_cannot_be_read(made: bytes) -> None:
    assert identity(made, "common-name") == ("", "the client's certificate cannot be read")
