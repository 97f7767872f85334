"""Asks a directory, in a process of its own: the library for that may hold Python's lock while it waits, as
long as the directory likes (in the handshake of TLS, for one). This process is killed when it takes too long.

It is sent a line of JSON with settings, and says ``{}`` when it is connected; then for each line with
``username``, ``password`` and ``hides_names`` it says ``result``, and for who is right ``identity`` and
``groups``. What fails is ``{"error": "why"}``. As a program it imports nothing of curier.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

PROGRAM: Final = __file__
USERNAME: Final = "{username}"
DN: Final = "{dn}"

# What is said of a user.
UNKNOWN: Final = "unknown"
WRONG: Final = "wrong"
RIGHT: Final = "right"


class Directory:
    """A directory, and a connection to it, over which entries are found. Raises what the package raises."""

    def __init__(self, settings: Mapping[str, Any], password: str | None) -> None:
        self._bonsai: Final[Any] = import_module("bonsai")
        self._settings: Final = settings
        self._connection: Final = self._bind(settings["bind_dn"], password)

    def ask(self, username: str, password: str, hides_names: bool) -> dict[str, object]:
        """What is known of a user. Raises ``ValueError`` where it is not clear who it is."""
        entry = self._find(username)
        if entry is None:
            if hides_names:  # it takes as long as for one who is known
                with suppress(Exception):
                    self._binds(f"cn={secrets.token_hex(8)}", password)
            return {"result": UNKNOWN}
        if not self._binds(str(entry.dn), password):
            return {"result": WRONG}
        identity = [str(value) for value in entry.get(self._settings["identity_attribute"], ())]
        return {"result": RIGHT, "identity": identity, "groups": self._groups(entry)}

    def _bind(self, dn: str | None, password: str | None) -> Any:
        settings = self._settings
        client = self._bonsai.LDAPClient(settings["url"], tls=settings["starttls"])
        client.set_cert_policy("demand")
        if settings["ca_file"] is not None:
            client.set_ca_cert(settings["ca_file"])
        client.set_ignore_referrals(True)
        client.set_server_chase_referrals(False)
        if dn is not None:
            client.set_credentials("SIMPLE", user=dn, password=password)
        return client.connect(timeout=settings["timeout"])

    def _binds(self, dn: str, password: str) -> bool:
        errors = self._bonsai.errors
        try:
            connection = self._bind(dn, password)
        except (errors.AuthenticationError, errors.PasswordPolicyError):
            return False
        with suppress(Exception):
            connection.close()
        return True

    def _find(self, username: str) -> Any:
        settings = self._settings
        names = [name for name in (settings["identity_attribute"], settings["groups_attribute"]) if name]
        wanted = settings["filter"].replace(USERNAME, self._bonsai.escape_filter_exp(username))
        found = self._search(settings["base"], wanted, names, 2)
        if len(found) > 1:
            raise ValueError(f"more than one entry fits {settings['filter']}")
        return found[0] if found else None

    def _groups(self, entry: Any) -> list[str]:
        settings = self._settings
        name = settings["group_name"]
        groups: list[str] = []
        if settings["groups_attribute"] is not None:
            for dn in entry.get(settings["groups_attribute"], ()):
                rdn = self._bonsai.LDAPDN(str(dn)).rdns[0]
                groups += [
                    re.sub(r"\\(.)", r"\1", value) for key, value in rdn if key.lower() == name.lower()
                ]
        if settings["group_base"] is not None:
            wanted = settings["group_filter"].replace(DN, self._bonsai.escape_filter_exp(str(entry.dn)))
            for found in self._search(settings["group_base"], wanted, [name], 0):
                groups += [str(value) for value in found.get(name, ())]
        return groups

    def _search(self, base: str, wanted: str, names: list[str], most: int) -> list[Any]:
        scope, timeout = self._bonsai.LDAPSearchScope.SUB, self._settings["timeout"]
        try:
            found = self._connection.search(base, scope, wanted, names, timeout=timeout, sizelimit=most)
        except self._bonsai.errors.SizeLimitError:
            raise ValueError(f"more than one entry fits {self._settings['filter']}") from None
        return [entry for entry in found if entry.dn]


def serve() -> None:
    """Answer what comes on standard input, one line after another, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the program that asks
    directory: Directory | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, object] = {}
        try:
            if directory is None:
                directory = Directory(asked["settings"], asked["password"])
            else:
                answer = directory.ask(**asked)
        except ValueError as error:
            answer = {"error": str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
        if "error" in answer and directory is None:
            return


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        serve()
