"""How commands on this machine find the window: a small file beside each, for its user alone.

It has the address, and a token of the role admin that is good as long as the window is open. It lies in
``$RUNTIME_DIRECTORY`` where systemd has made one, else in the user's runtime directory, else with the state.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from curier.errors import ConfigError

_SYSTEM: Final = Path("/run/curier")


class Local(NamedTuple):
    """What such a file says. ``certificate`` is what the window speaks TLS with; "": it does not."""

    url: str
    token: str
    certificate: str = ""
    process: int = 0


def directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where a window of this process writes its file."""
    given = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else _own(environment)


def _own(environment: Mapping[str, str]) -> Path:
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "curier"
    state = environment.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(state) / "curier" / "windows"


def write(local: Local, port: int, where: Path) -> Path:
    """Write the file of a window, whole, readable by nobody else. Raises ``OSError``."""
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = where / f"window-{port}.json"
    temporary = where / f".window-{port}-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(json.dumps(local._asdict()).encode())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return path


def found(environment: Mapping[str, str] = os.environ) -> Iterator[Local]:
    """The windows of this machine that this user may ask, the newest first."""
    paths: list[tuple[float, Path]] = []
    for where in dict.fromkeys((directory(environment), _own(environment), _SYSTEM)):
        with suppress(OSError):
            paths += [(path.stat().st_mtime, path) for path in where.glob("window-*.json")]
    for _, path in sorted(paths, reverse=True):
        with suppress(OSError, ValueError, TypeError):  # it is no such file
            given = json.loads(path.read_bytes())
            local = Local(**{name: given[name] for name in Local._fields if name in given})
            if _lives(local.process):
                yield local


def _lives(process: int) -> bool:
    """May that process be there? One that was killed has left its file."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def only(url: str | None, environment: Mapping[str, str] = os.environ) -> Local:
    """The window at ``url``, or the newest. Raises ``ConfigError`` where there is none."""
    for local in found(environment):
        if url is None or local.url.rstrip("/") == url.rstrip("/"):
            return local
    where = f"at {url} " if url else ""
    raise ConfigError(
        f"there is no window {where}of a broker of yours on this machine: start curier broker, or give --url "
        "and --token-file"
    )
