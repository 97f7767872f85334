"""Taking the clients that wait at listening sockets, as far as the system lets us."""

from __future__ import annotations

import errno
import os
import socket
import struct
from time import monotonic
from typing import Final, TypeAlias, final

from curier.loglines import logger

log = logger("curier.net")

ACCEPTS_PER_TURN: Final = 8
ACCEPT_AGAIN_SECONDS: Final = 0.1  # after the system has run out of file descriptors or memory
TOLD_SECONDS: Final = 60.0  # between two lines of the log about that

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_NO_FILES: Final = frozenset((errno.EMFILE, errno.ENFILE))
_PEER_CREDENTIALS: Final = int(getattr(socket, "SO_PEERCRED", 0))  # Linux has it

UNIX: Final = "unix"
"""The address of a peer behind a Unix socket, where the system does not tell who it is."""

LocalPeer: TypeAlias = tuple[int, int, int]
"""Who connected to a Unix socket, as the kernel knows them: user, group, process."""

Client: TypeAlias = tuple[int, str, "LocalPeer | None"]
"""A descriptor, which blocks; the peer's address; and who it is, on a Unix socket."""


@final
class Acceptor:
    """Accepts for all listening sockets of a broker.

    When there are no more file descriptors, those who wait at a socket could not even be turned away, and
    would wait as long as they like to. So one descriptor is kept in reserve: it is let go of, each of them is
    accepted in its place, and closed.
    """

    def __init__(self) -> None:
        self.spare: int = -1
        self.turned_away: int = 0  # clients, since it was told last
        self.told_at: float = monotonic() - TOLD_SECONDS
        self._reserve()

    def _reserve(self) -> None:
        try:
            self.spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:  # somebody else was faster; the next time, then
            self.spare = -1

    def accept(self, listener: socket.socket) -> tuple[list[Client], bool]:
        """Some of the clients that wait, and whether there may be more of them now.

        There may not be where the system has run out of what a connection needs.
        """
        clients: list[Client] = []
        for _ in range(ACCEPTS_PER_TURN):
            try:
                # What ``listener.accept()`` calls; a Python socket of its own would cost as much as all else.
                fd, peer = listener._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    if error.errno in _NO_FILES:
                        self._turn_away(listener)
                    self._tell(error)
                    return clients, False
                continue  # a client's network failed before it was accepted; accept(2) says so here
            if isinstance(peer, tuple):
                host, port = peer[:2]
                clients.append((fd, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", None))
            else:
                who = local_peer(fd)
                clients.append((fd, UNIX if who is None else f"uid={who[0]}:pid={who[2]}", who))
        return clients, True

    def _turn_away(self, listener: socket.socket) -> None:
        """Accept who waits in place of the spare descriptor, and close it."""
        if self.spare >= 0:
            os.close(self.spare)
            try:
                for _ in range(ACCEPTS_PER_TURN):
                    fd, _ = listener._accept()  # type: ignore[attr-defined]
                    os.close(fd)
                    self.turned_away += 1
            except OSError:
                pass  # nobody waits any more, or somebody else has taken the descriptor
        self._reserve()

    def _tell(self, error: OSError) -> None:
        now = monotonic()
        if now - self.told_at >= TOLD_SECONDS:
            log.error(
                "cannot accept more connections: %s; %d were turned away", error.strerror, self.turned_away
            )
            self.told_at = now
            self.turned_away = 0

    def close(self) -> None:
        """Let go of what is kept in reserve."""
        if self.spare >= 0:
            os.close(self.spare)
            self.spare = -1


def local_peer(fd: int) -> LocalPeer | None:
    """Who is at the other end of a Unix socket, where the system tells that (unix(7), SO_PEERCRED): as they
    were when they connected.
    """
    if not _PEER_CREDENTIALS:
        return None
    sock = socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    try:
        pid, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, _PEER_CREDENTIALS, 12))
    except OSError:
        return None
    finally:
        sock.detach()
    return uid, gid, pid
