"""Who a client is, out of its certificate: one name of it, or why there is none. Pure.

What comes out is put into logs, permissions and patterns of topics, so it is text that can be shown, and it
is never chosen among several.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID, NameOID

from curier.listeners import Names

MOST_BYTES = 65_535
"""Of a user name in MQTT (5.0 section 1.5.4)."""


def identity(certificate: bytes, name: Names) -> tuple[str, str]:
    """The ``name`` in a certificate (DER) that TLS has verified: identity and "", or "" and a reason.

    ``common-name`` is the CN of the subject; ``dns``, ``uri`` and ``email`` are names of these kinds in
    subjectAltName, of which there has to be exactly one; ``dns`` is given in small letters. ``subject`` is
    all of it as text (RFC 4514: ``CN=dev1,O=Acme``), ``fingerprint`` the SHA-256 of the certificate, in hex.
    Characters that cannot be shown, NUL for one, are a reason; so are blanks around the name.
    """
    try:
        found = _names(x509.load_der_x509_certificate(certificate), name)
    except Exception:  # whatever its signer has put into it: what there is no reading of is nobody's name
        return "", "the client's certificate cannot be read"
    what = _WORDS[name]
    if not found:
        return "", f"the client's certificate has no {what}"
    if len(found) > 1:
        return "", f"the client's certificate has {len(found)} names of the kind {what}: who is it?"
    text = found[0]
    if not text.strip():
        return "", f"the {what} of the client's certificate is empty"
    if not text.isprintable():
        return "", f"the {what} of the client's certificate has characters that cannot be shown"
    if text != text.strip():
        return "", f"the {what} of the client's certificate begins or ends with a blank"
    if len(text.encode()) > MOST_BYTES:
        return "", f"the {what} of the client's certificate is longer than {MOST_BYTES} bytes"
    return text, ""


_WORDS = {
    "common-name": "common name (CN)",
    "dns": "DNS name (subjectAltName)",
    "uri": "URI (subjectAltName)",
    "email": "e-mail address (subjectAltName)",
    "subject": "subject",
    "fingerprint": "fingerprint",
}


def _names(certificate: x509.Certificate, name: Names) -> list[str]:
    if name == "fingerprint":
        return [certificate.fingerprint(SHA256()).hex()]
    if name == "common-name":
        return [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if name == "subject":
        # RFC 4514 escapes what cannot be shown; it is to be seen, and refused, as it is.
        odd = [str(one.value) for one in certificate.subject if not str(one.value).isprintable()]
        text = certificate.subject.rfc4514_string()
        return odd[:1] or ([text] if text else [])
    try:
        found = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return []
    assert isinstance(found, x509.SubjectAlternativeName)
    if name == "dns":
        return [text.lower() for text in found.get_values_for_type(x509.DNSName)]
    return found.get_values_for_type(x509.UniformResourceIdentifier if name == "uri" else x509.RFC822Name)
