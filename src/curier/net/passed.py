"""Sockets that somebody else has opened for us, as systemd does (sd_listen_fds(3), systemd.socket(5)).

They listen already, and go on doing so when we are gone: nothing is bound, and no file removed.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping
from typing import Final

FIRST: Final = 3  # descriptor; the others follow it
MOST: Final = 4096
UNNAMED: Final = "unknown"  # as sd_listen_fds_with_names(3) has it
PID, FDS, NAMES, PID_FD = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"


class Passed:
    """The sockets of this process that nobody has taken yet.

    The variables that tell of them are removed from ``environment`` when they are first looked for, and the
    sockets are closed for programs that we start: both are meant for this process alone.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._names: dict[int, str] | None = None  # by descriptor
        self._why = ""  # there are none

    def take(self, which: str) -> list[socket.socket]:
        """The listening sockets with this number or name, at least one. Raises ``OSError``, whose text is
        for people.
        """
        names = self._names
        if names is None:
            names = self._names = self._look()
        found = [fd for fd, name in names.items() if which in (str(fd), name)]
        if not found:
            listed = ", ".join(f"{fd} ({name})" for fd, name in names.items())
            raise OSError(
                errno.EBADF, self._why or f"no such socket was passed, or is left: {listed or 'none'}"
            )
        sockets: list[socket.socket] = []
        try:
            for fd in found:
                sockets.append(_listening(fd))
        except OSError:
            for sock in sockets:
                sock.detach()
            raise
        for fd in found:
            del names[fd]
        return sockets

    def left(self) -> list[str]:
        """Those that nobody has asked for, if somebody has asked for any."""
        return [f"{fd} ({name})" for fd, name in (self._names or {}).items()]

    def _look(self) -> dict[int, str]:
        environment = self._environment
        pid, count, names, _ = (environment.pop(name, "") for name in (PID, FDS, NAMES, PID_FD))
        if not pid or not count:
            self._why = f"no sockets were passed to this process: {PID} and {FDS} are not set"
        elif pid != str(os.getpid()):
            self._why = f"the sockets were passed to process {pid}, and this is {os.getpid()}"
        elif not (count.isascii() and count.isdigit() and int(count) <= MOST):
            self._why = f"{FDS} is {count!r:.40}, which is not a number of sockets"
        if self._why:
            return {}
        given = names.split(":") if names else []
        found: dict[int, str] = {}
        for number in range(int(count)):
            fd = FIRST + number
            found[fd] = given[number] if number < len(given) and given[number] else UNNAMED
            try:
                os.set_inheritable(fd, False)
            except OSError:
                self._why = f"{FDS} is {count}, and descriptor {fd} is not open"
                return {}
        return found


def _listening(fd: int) -> socket.socket:
    """A socket of Python's, if it is one that clients can come in by."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise OSError(errno.ENOTSOCK, f"descriptor {fd} is not a socket") from error
    why = ""
    if sock.type != socket.SOCK_STREAM:
        why = "carries datagrams; expected ListenStream in the unit of the socket"
    elif sock.family not in (socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", None)):
        why = f"is of the family {sock.family!r:.40}; expected IPv4, IPv6 or Unix"
    elif not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        why = "does not listen; expected Accept=no in the unit of the socket"
    elif sock.family not in (socket.AF_INET, socket.AF_INET6) and not str(sock.getsockname()).startswith("/"):
        why = "has no path in the file system, so that everybody on this machine could come in"
    if why:
        sock.detach()
        raise OSError(errno.EINVAL, f"descriptor {fd} {why}")
    sock.setblocking(False)
    return sock
