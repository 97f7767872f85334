"""Who may connect to the broker of the app: Home Assistant, logins of the options, users of Home Assistant.

``start.py`` has the broker load this file. Home Assistant is asked as it is documented for apps with
``auth_api``: POST ``/auth`` with name and password, which answers 200 where they are right.
"""

from __future__ import annotations

import json
import os
from hmac import compare_digest
from pathlib import Path

from curier import ReasonCode
from curier.auth import Authenticator, Credentials, Verdict
from curier.auth.calls import CallFailed, Calls

DATA = Path(os.environ.get("APP_DATA", "/data"))
SUPERVISOR = os.environ.get("APP_SUPERVISOR", "http://supervisor")
UNDERSTOOD = (400, 401, 403)
"""What the Supervisor answers where name or password are wrong; all else is trouble of its own."""


class Users(Authenticator):
    """Names that are in the files are decided there; others Home Assistant is asked about."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {
            one["username"]: one["password"].encode()
            for one in json.loads((DATA / "options.json").read_text())["logins"]
        }
        own = json.loads((DATA / "own_users.json").read_text())
        self._known |= {name: password.encode() for name, password in own.items()}
        self._calls = Calls(f"{SUPERVISOR}/auth", timeout=20)

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT."""
        name, password = credentials.username, credentials.password
        if not name or not password or credentials.authentication_method is not None:
            return Verdict(ReasonCode.NOT_AUTHORIZED, "a user name and a password are needed")
        if name in self._known:
            if compare_digest(self._known[name], password):
                return Verdict(ReasonCode.SUCCESS, identity=name)
            return _wrong("a login of the app, other password")
        try:
            body = json.dumps({"username": name, "password": password.decode()}).encode()
        except UnicodeDecodeError:
            return _wrong("the password is no text")
        token = os.environ["SUPERVISOR_TOKEN"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            answer = await self._calls.call("POST", headers, body)
        except CallFailed as error:
            return _trouble(str(error))
        if answer.status == 200:
            return Verdict(ReasonCode.SUCCESS, identity=name, groups=frozenset({"homeassistant"}))
        if answer.status in UNDERSTOOD:
            return _wrong("Home Assistant says no")
        return _trouble(f"it answers {answer.status}")


def _wrong(why: str) -> Verdict:
    return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", why=why)


def _trouble(why: str) -> Verdict:
    code = ReasonCode.SERVER_UNAVAILABLE
    return Verdict(code, "authentication is not available", why=f"Home Assistant cannot be asked: {why}")
