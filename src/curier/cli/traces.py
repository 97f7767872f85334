"""The traces of ``curier broker``, for ``curier trace``: a socket beside its data, or a line of the log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from curier.config import Config
from curier.net.socket_file import SocketFile, bind_unix
from curier.server import Broker
from curier.trace.following import SOCKET, without_data
from curier.trace.serving import Serving

MODE: Final = 0o600  # payloads are as private as the data beside which the socket is

_log = logging.getLogger("curier.cli")


def socket_of(directory: str | None) -> Path | None:
    """Where a broker with its data in ``directory`` (None: in memory) serves its traces; None: nowhere."""
    return Path(directory, SOCKET) if directory is not None else without_data()


class Traces:
    """Of one broker, from ``start`` to ``stop``."""

    def __init__(self, broker: Broker) -> None:
        self._serving = Serving(broker.trace)
        self._file: SocketFile | None = None

    @property
    def is_serving(self) -> bool:
        """Can ``curier trace`` follow this broker?"""
        return self._file is not None

    async def start(self, config: Config) -> None:
        """Serve where that is wanted and can be; why it cannot be is in the log."""
        path = socket_of(config.directory)
        if config.no_trace or path is None:
            return
        try:
            sock, self._file = await bind_unix(
                str(path), MODE, "", "", is_locked=config.directory is not None
            )
        except OSError as error:
            level = logging.WARNING if config.directory is not None else logging.INFO  # another has that name
            _log.log(level, "curier trace cannot follow this broker: %s: %s", path, error.strerror or error)
            return
        await self._serving.start(sock)

    async def stop(self) -> None:
        """Let go of all who read, and remove the file."""
        if self._file is not None:
            self._file.remove()
        await self._serving.stop()
