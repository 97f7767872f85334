"""Parts of a broker whose packages only some have: imported when they are needed, and missed in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curier.cluster_settings import ClusterSettings, WorkerSettings
from curier.errors import ConfigError, missing_package
from curier.listeners import Listener
from curier.store.base import Durability, Store

if TYPE_CHECKING:
    from curier.acme.process import AcmeProcess
    from curier.member import Member
    from curier.net.certificates import Certificates


def stored(directory: Path, durability: Durability, accept_loss: bool) -> Store:
    """The store of a data directory, whose package a client has no need of."""
    try:
        from curier.store.sqlite import SqliteStore
    except ImportError as error:
        raise missing_package(error, f"data: {directory}") from error
    return SqliteStore(directory, durability, accept_loss=accept_loss)


def member_of(settings: ClusterSettings | WorkerSettings, data: str | Path | None) -> Member:
    """The broker's part in a cluster, whose packages few have need of."""
    if data is not None:
        raise ConfigError("cluster and data cannot both be: a cluster keeps all there is to keep itself")
    try:
        if isinstance(settings, WorkerSettings):
            from curier.member_of_workers import WorkerMember

            return WorkerMember(settings)
        from curier.member_on_nats import NatsMember
    except ImportError as error:
        raise missing_package(error, "cluster") from error
    return NatsMember(settings)


def with_acme(
    listeners: list[Listener], data: str | Path | None
) -> tuple[list[Listener], AcmeProcess | None]:
    """The listeners, with certificates for those that get them by ACME, whose packages few have need of."""
    if not any(listener.acme for listener in listeners):
        return listeners, None
    try:
        from curier.acme.process import with_acme

        return with_acme(listeners, Path(data) if data is not None else None)
    except ImportError as error:
        raise missing_package(error, "acme") from error


def certificates_of(listener: Listener) -> Certificates:
    """The certificates of a listener, whose package others have no need of."""
    try:
        from curier.net.certificates import Certificates
    except ImportError as error:
        raise missing_package(error, str(listener.address)) from error
    return Certificates(listener)
