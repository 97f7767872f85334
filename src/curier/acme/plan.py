"""What is to be certified: plain data, made from listeners, given to the process as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curier.acme_settings import http_address, names_of
from curier.errors import ConfigError
from curier.listeners import Listener


@dataclass(frozen=True, slots=True)
class Plan:
    """One certificate: for whom, from where, proven where, and the directory that its files lie below."""

    mail: str
    names: tuple[str, ...]
    directory: str
    http: str
    files: str

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port of the answer to HTTP-01."""
        return http_address(self.http)

    @property
    def authority(self) -> Path:
        """What is kept of an authority: the account and its key."""
        parts = urlsplit(self.directory)
        name = f"{parts.netloc}{parts.path}".strip("/")
        return Path(self.files) / "".join(one if one.isalnum() or one in ".-" else "_" for one in name)

    @property
    def folder(self) -> Path:
        """What is kept of the certificate, below its first name."""
        return self.authority / "certificates" / self.names[0]

    @property
    def certificate(self) -> Path:
        """The certificate, those who signed it, and its key: one file, so that they change in one moment."""
        return self.folder / "certificate.pem"

    def as_json(self) -> dict[str, Any]:
        """Of which ``from_json`` makes the same."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Plan:
        """What ``as_json`` gave."""
        return cls(**{**found, "names": tuple(found["names"])})


def plan_of(listener: Listener, data: Path | None) -> Plan:
    """What a listener with ``acme`` needs. ``data`` is the broker's directory. Raises ``ConfigError``."""
    files = Path(listener.acme_files) if listener.acme_files is not None else data and data / "acme"
    if files is None:
        raise ConfigError(
            f"{listener.url}: acme keeps account and certificates on disk, and this broker keeps nothing: "
            "give it a data directory, or set acme_files"
        )
    names = names_of(listener.acme_names, listener.address.host)
    return Plan(listener.acme, names, listener.acme_directory, listener.acme_http, str(files.absolute()))


def check_together(plans: Sequence[Plan]) -> None:
    """Raise ``ConfigError`` where two would write each other's files."""
    for number, plan in enumerate(plans):
        for other in plans[:number]:
            if plan.authority == other.authority and plan.mail != other.mail:
                raise ConfigError(
                    f"acme: {other.mail} and {plan.mail} would share one account with {plan.directory}: "
                    "give both listeners the same mail address, or acme_files of their own"
                )
            if plan.folder == other.folder and plan != other:
                raise ConfigError(
                    f"acme: two listeners want a certificate for {plan.names[0]}, with other acme settings "
                    "each: give them the same, or acme_files of their own"
                )
