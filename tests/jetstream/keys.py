"""Who may come to a server of NATS: an operator, an account and a user, as nsc would make them."""

from __future__ import annotations

import base64
import json
import os
from typing import Any, NamedTuple

import nkeys  # type: ignore[import-untyped]


def pair(prefix: int) -> Any:
    """A new pair of keys."""
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), prefix))


def user_keys() -> Any:
    return pair(nkeys.PREFIX_BYTE_USER)


class Operator(NamedTuple):
    """``more`` belongs into the configuration of the server, ``credentials`` is the user's file."""

    more: str
    credentials: str


def operator() -> Operator:
    """With one account, which has JetStream, and one user."""
    root, user = pair(nkeys.PREFIX_BYTE_OPERATOR), user_keys()
    account, system = pair(nkeys.PREFIX_BYTE_ACCOUNT), pair(nkeys.PREFIX_BYTE_ACCOUNT)
    limits = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    others = {"subs": -1, "conn": -1, "leaf": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1}
    nats: dict[str, Any] = {"subs": -1, "data": -1, "payload": -1}
    name, own = public(account), public(system)
    claims = {
        name: claim(root, name, "account", {"limits": limits | others}),
        own: claim(root, own, "account", {"limits": others}),
    }
    lines = [
        f"operator: {claim(root, public(root), 'operator', {})}",
        "resolver: MEMORY",
        f"system_account: {own}",
        f"resolver_preload: {{ {', '.join(f'{one}: {told}' for one, told in claims.items())} }}",
    ]
    told = [
        "-----BEGIN NATS USER JWT-----",
        claim(account, public(user), "user", nats),
        "------END NATS USER JWT------",
        "",
        "-----BEGIN USER NKEY SEED-----",
        seed(user),
        "------END USER NKEY SEED------",
        "",
    ]
    return Operator("\n".join(lines) + "\n", "\n".join(told))


def public(keys: Any) -> str:
    return bytes(keys.public_key).decode()


def seed(keys: Any) -> str:
    return bytes(keys.seed).decode()


def claim(signer: Any, subject: str, kind: str, nats: dict[str, Any]) -> str:
    """A JWT of NATS."""
    claims = {"jti": "1", "iat": 1_700_000_000, "iss": public(signer), "name": kind, "sub": subject}
    claims["nats"] = {**nats, "type": kind, "version": 2}
    parts = ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)
    text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    return f"{text}.{encoded(bytes(signer.sign(text.encode())))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
