"""An ACME server on loopback [RFC 8555], as far as a client's flow needs one, and strict about that: nonces
are good once, signatures and URLs are verified, challenges are fetched by HTTP, the key is the request's.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme
from acme.jws import JWS
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.b64 import b64encode

ROOT = trustme.CA(organization_name="ACME test")
_ROOT = x509.load_pem_x509_certificate(ROOT.cert_pem.bytes())
_ROOT_KEY = serialization.load_pem_private_key(ROOT.private_key_pem.bytes(), None)


class Refusal(Exception):
    """A problem document, with its status and headers."""

    def __init__(self, status: int, kind: str, detail: str, **headers: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers


class Authority:
    """``http_port`` is where it looks for answers, in place of 80. ``log`` has what was asked for."""

    def __init__(self, http_port: int) -> None:
        self.http_port = http_port
        self.log: list[str] = []
        self.accounts: list[tuple[Any, dict[str, Any]]] = []
        self.orders: list[dict[str, Any]] = []
        self.authorizations: list[dict[str, Any]] = []
        self.certificates: list[str] = []
        self.fetched: list[str] = []
        self.nonces: set[str] = set()
        self.life = timedelta(days=90)
        self.refusals: dict[str, Refusal] = {}
        self.offered = ["http-01"]
        self.own_key = False  # certifies another key than was asked for
        self.finalizes = True  # or leaves orders "processing"
        self.forgets_accounts = False
        self.url = ""
        self.clock: Callable[[], float] = time.time

    # ---- the resources ----

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        kind, _, number = path.strip("/").partition("/")
        self.log.append(kind)
        if kind in self.refusals:
            raise self.refusals[kind]
        if kind == "directory":
            names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
            return 200, {name: f"{self.url}/{name}" for name in names}, {}
        if kind == "newNonce":
            return 200, None, {}
        if method != "POST":
            raise Refusal(405, "malformed", "POST, please")
        payload, account = self._verified(path, body)
        if kind == "newAccount":
            return self._new_account(payload, account)
        if kind == "newOrder":
            return self._new_order(payload)
        return self._known(kind, int(number), payload)

    def _known(self, kind: str, number: int, payload: Any) -> tuple[int, Any, dict[str, str]]:
        if kind == "account":
            self.accounts[number][1].update(payload or {})
            return 200, self.accounts[number][1], {}
        if kind == "authorization":
            return 200, self.authorizations[number], {}
        if kind == "challenge":
            self._look(self.authorizations[number])
            challenge = self.authorizations[number]["challenges"][0]
            return 200, challenge, {"Link": f'<{self.url}/authorization/{number}>;rel="up"'}
        if kind == "order":
            self._advance(self.orders[number])
            return 200, self._shown(number), {}
        if kind == "finalize":
            return self._finalize(number, payload)
        if kind == "certificate":
            return 200, self.certificates[number], {}
        raise Refusal(404, "malformed", "no such thing")

    def _verified(self, path: str, body: bytes) -> tuple[Any, int | None]:
        """What is signed, and whose it is."""
        found = JWS.json_loads(body.decode())
        header = found.signature.combined
        if b64encode(header.nonce).decode() not in self.nonces:
            raise Refusal(400, "badNonce", "used, or never given")
        self.nonces.remove(b64encode(header.nonce).decode())
        assert header.url == self.url + path, header.url
        number: int | None = None
        if path == "/newAccount":
            assert header.kid is None
            key = header.jwk
            number = next((n for n, (known, _) in enumerate(self.accounts) if known == key), None)
        else:
            number = int(header.kid.rpartition("/")[2])
            if self.forgets_accounts or number >= len(self.accounts):
                raise Refusal(400, "accountDoesNotExist", "never heard of it")
            key = self.accounts[number][0]
        assert found.verify(key)
        if path == "/newAccount" and number is None:
            self.accounts.append((key, {}))
        return (json.loads(found.payload) if found.payload else None), number

    def _new_account(self, payload: Any, account: int | None) -> tuple[int, Any, dict[str, str]]:
        assert payload["termsOfServiceAgreed"] is True
        number = len(self.accounts) - 1 if account is None else account
        if account is None:
            self.accounts[number][1].update(status="valid", contact=payload["contact"])
        status = 201 if account is None else 200
        return status, self.accounts[number][1], {"Location": f"{self.url}/account/{number}"}

    def _new_order(self, payload: Any) -> tuple[int, Any, dict[str, str]]:
        mine = []
        for identifier in payload["identifiers"]:
            number = len(self.authorizations)
            mine.append(number)
            token = base64.urlsafe_b64encode(f"a token with enough bits {number:8}".encode()).decode()
            url = f"{self.url}/challenge/{number}"
            self.authorizations.append(
                {
                    "status": "pending",
                    "identifier": identifier,
                    "challenges": [
                        {"type": kind, "url": url, "status": "pending", "token": token.rstrip("=")}
                        for kind in self.offered
                    ],
                }
            )
        self.orders.append(
            {"status": "pending", "identifiers": payload["identifiers"], "mine": mine, "certificate": None}
        )
        number = len(self.orders) - 1
        return 201, self._shown(number), {"Location": f"{self.url}/order/{number}"}

    def _shown(self, number: int) -> dict[str, Any]:
        order = self.orders[number]
        shown: dict[str, Any] = {
            "status": order["status"],
            "identifiers": order["identifiers"],
            "authorizations": [f"{self.url}/authorization/{one}" for one in order["mine"]],
            "finalize": f"{self.url}/finalize/{number}",
        }
        if order["status"] == "valid":
            shown["certificate"] = f"{self.url}/certificate/{order['certificate']}"
        return shown

    def _advance(self, order: dict[str, Any]) -> None:
        states = {self.authorizations[one]["status"] for one in order["mine"]}
        if order["status"] == "pending" and states == {"valid"}:
            order["status"] = "ready"
        elif "invalid" in states:
            order["status"] = "invalid"
        if order["status"] == "processing" and self.finalizes:
            self._issue(order)

    # ---- proof and certificate ----

    def _look(self, authorization: dict[str, Any]) -> None:
        """Ask the name, by HTTP, as section 8.3 has it."""
        challenge = authorization["challenges"][0]
        host = authorization["identifier"]["value"]
        key = self.accounts[0][0]
        digest = b64encode(key.thumbprint(hash_function=hashes.SHA256)).decode()
        wanted = f"{challenge['token']}.{digest}"
        why = ""
        try:
            link = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=100)
            link.request("GET", f"/.well-known/acme-challenge/{challenge['token']}", headers={"Host": host})
            answer = link.getresponse()
            said = answer.read().decode()
            link.close()
            self.fetched.append(host)
            if answer.status != 200 or said.rstrip() != wanted:
                why = f"The answer was {answer.status} {said[:20]!r}"
        except OSError as error:
            why = f"Connection failed: {error}"
        state = "invalid" if why else "valid"
        challenge["status"] = authorization["status"] = state
        if why:
            challenge["error"] = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": why}

    def _finalize(self, number: int, payload: Any) -> tuple[int, Any, dict[str, str]]:
        order = self.orders[number]
        self._advance(order)
        if order["status"] != "ready":
            raise Refusal(403, "orderNotReady", order["status"])
        request = payload["csr"]
        order["csr"] = x509.load_der_x509_csr(base64.urlsafe_b64decode(request + "=" * (-len(request) % 4)))
        assert order["csr"].is_signature_valid
        names = order["csr"].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        asked = {one["value"] for one in order["identifiers"]}
        assert set(names.get_values_for_type(x509.DNSName)) == asked
        order["status"] = "processing"
        return 200, self._shown(number), {}

    def _issue(self, order: dict[str, Any]) -> None:
        key = (
            ec.generate_private_key(ec.SECP256R1()).public_key()
            if self.own_key
            else order["csr"].public_key()
        )
        now = datetime.fromtimestamp(self.clock(), UTC)
        names = [x509.DNSName(one["value"]) for one in order["identifiers"]]
        assert isinstance(_ROOT_KEY, ec.EllipticCurvePrivateKey)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(_ROOT.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + self.life)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(_ROOT_KEY, hashes.SHA256())
        )
        order["certificate"] = len(self.certificates)
        leaf = made.public_bytes(serialization.Encoding.PEM)
        self.certificates.append((leaf + ROOT.cert_pem.bytes()).decode())
        order["status"] = "valid"


@contextmanager
def serving(authority: Authority, port: int = 0) -> Iterator[None]:
    """Have it answer at ``authority.url``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = "application/json"
            try:
                status, found, headers = authority.answer(self.command, self.path, body)
            except Refusal as refusal:
                status, headers, kind = refusal.status, refusal.headers, "application/problem+json"
                headers = {name.replace("_", "-"): value for name, value in headers.items()}
                found = {"type": f"urn:ietf:params:acme:error:{refusal.kind}", "detail": refusal.detail}
            if isinstance(found, str):
                kind, data = "application/pem-certificate-chain", found.encode()
            else:
                data = json.dumps(found).encode() if found is not None else b""
            nonce = b64encode(f"nonce {len(authority.log)}".encode()).decode()
            authority.nonces.add(nonce)
            self.send_response(status)
            sent = {"Content-Type": kind, "Content-Length": str(len(data)), "Replay-Nonce": nonce}
            for name, value in {**sent, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    authority.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
