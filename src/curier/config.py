"""The broker's settings: a TOML file, read strictly, and the rules that hold between settings.

Whatever is wrong is a ``ConfigError`` that names file, line and key and says what was expected; a key that
is not known is an error too, so that a slip of the pen cannot quietly leave a default in place. What
keys there are, and of what kind, is in ``settings.table``.

    listen = ["tcp://0.0.0.0:1883"]
    password_file = "users"           # beside this file
    log_level = "info"
    sys_interval = "10 s"

    [[listener]]
    url = "tls://0.0.0.0:8883"
    certificate = "server.pem"        # the same
    key = "server.key"

    [limits]
    max_packet_size = "1 MiB"
    max_connections = 10_000
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, cast

from curier.broker.options import Options
from curier.config_listeners import read_listeners
from curier.errors import ConfigError
from curier.listeners import DEFAULT_LISTEN, Listener, parse_listen
from curier.settings.table import LIMIT, TOP
from curier.strict_toml import Keys, TomlFile, shown

Durability = Literal["fsync", "os", "memory"]


@dataclass(frozen=True)
class Config:
    """Settings of ``curier broker``.

    ``listen`` are URLs, ``listeners`` those that have more than a URL; ``None`` for the first means the
    default, where there are none of the second. ``certificate``, ``key`` and ``client_ca`` are for all of
    ``listen`` that speak TLS. ``allow_anonymous`` ``None`` means: on loopback only, and not at all beside a
    password file.
    ``data`` ``None`` means ``default_directory()``, ``durability`` ``None`` means ``fsync``. ``accept_loss``
    is for one start, and so no setting of a file. ``hooks`` are files; ``hooks_authenticate``, no setting
    either, is whether they decide who may connect, None as long as they have not been read. ``options`` are
    the core's limits.
    """

    listen: tuple[str, ...] | None = None
    listeners: tuple[Listener, ...] = ()
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    data: str | None = None
    memory: bool = False
    durability: Durability | None = None
    accept_loss: bool = False
    allow_anonymous: bool | None = None
    password_file: str | None = None
    hooks: tuple[str, ...] = ()
    hooks_authenticate: bool | None = None
    log_level: str = "info"
    options: Options = field(default_factory=Options)

    def check(self) -> None:
        """Raise ``ConfigError`` for settings that are each right but do not go together."""
        for door in self.doors():
            door.check()
        self._check_tls()
        self._check_anonymous()
        if self.hooks_authenticate and (self.password_file is not None or self.allow_anonymous):
            other = "password_file" if self.password_file is not None else "allow_anonymous"
            raise ConfigError(
                f"{other} and an authenticator in the hook files cannot both be: one of them decides who may "
                "connect; leave the other one out"
            )
        if self.data is not None and self.memory:
            raise ConfigError("data and memory cannot both be: choose a directory, or memory only")
        if self.memory and self.durability in ("fsync", "os"):
            raise ConfigError(
                f"durability {self.durability} and memory cannot both be: "
                "what is in memory only does not survive; leave one of them out"
            )
        try:
            self.options.check()
        except ValueError as error:
            raise ConfigError(str(error)) from None

    @property
    def directory(self) -> str | None:
        """Where durable state lies: ``data``, or the user's own place for such things; None: nowhere."""
        if self.memory or self.durability == "memory":
            return None
        return self.data if self.data is not None else default_directory()

    def doors(self) -> tuple[Listener, ...]:
        """All listeners."""
        urls = self.listen
        if urls is None:
            urls = () if self.listeners else DEFAULT_LISTEN
        found: list[Listener] = []
        for url in urls:
            if parse_listen(url).is_secure:
                found.append(
                    Listener(url, certificate=self.certificate, key=self.key, client_ca=self.client_ca)
                )
            else:
                found.append(Listener(url))
        return (*found, *self.listeners)

    def anonymous_may_connect(self, door: Listener) -> bool:
        """Whether clients without a user name get in there."""
        if door.allow_anonymous is not None:
            return door.allow_anonymous
        if self.allow_anonymous is not None:
            return self.allow_anonymous
        return not self.has_users and not door.knows_all

    @property
    def has_users(self) -> bool:
        """Whether somebody decides who may connect; so it seems while the hooks have not been read."""
        return self.password_file is not None or (
            self.hooks_authenticate if self.hooks_authenticate is not None else bool(self.hooks)
        )

    def _check_tls(self) -> None:
        """What is for TLS is of no use where nobody speaks it, and must not look as if it were."""
        if any(parse_listen(url).is_secure for url in self.listen or ()):
            return
        for option, value in (
            ("certificate", self.certificate),
            ("key", self.key),
            ("client_ca", self.client_ca),
        ):
            if value is not None:
                raise ConfigError(
                    f"--{option.replace('_', '-')} ({option} = ...) is for listeners that speak TLS, and "
                    "there is none among them: give --listen tls://0.0.0.0:8883, or leave it out"
                )

    def _check_anonymous(self) -> None:
        """Somebody may connect everywhere, and where strangers may, that was asked for."""
        users = "--password-file FILE (password_file = ...; make one with: curier passwd FILE USER)"
        for door in self.doors():
            address = door.address
            why = door.why_closed(address, self.allow_anonymous) if not self.has_users else ""
            if why == "nobody":
                raise ConfigError(
                    f"allow_anonymous is false and there are no users, so nobody can connect: give {users}"
                )
            if why == "everybody":
                # Of a socket that systemd opens, nobody knows yet.
                reach = "may be reached" if address.carrier == "fd" else "can be reached"
                raise ConfigError(
                    f"{door.url} {reach} from other machines, and nothing says who may connect: "
                    f"give {users}, or let everyone in with --allow-anonymous (allow_anonymous = true)"
                )


def default_directory() -> str:
    """Where a broker keeps its state when nobody says where: below ``$XDG_STATE_HOME``."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "curier")


def load(path: Path) -> Config:
    """Read a TOML file. Relative paths in it are relative to the file. Raises ``ConfigError``.

    Rules between settings are left to ``Config.check``, since the command line may still change some.
    """
    file = _File(path)
    for name in file.table:
        if name not in _KEYS:
            raise file.unknown((name,), [*_KEYS])
    options = file.limits()
    settings = {
        name: file.value((name,), _KEYS[name])
        for name in file.table
        if name not in ("limits", "listener", "sys_interval")
    }
    if "listener" in file.table:
        settings["listeners"] = read_listeners(file)
    if "hooks" in settings:
        settings["hooks"] = tuple(
            str(path.parent / file) for file in cast(tuple[str, ...], settings["hooks"])
        )
    for name in ("data", "password_file", "certificate", "key", "client_ca"):
        if name in settings:
            settings[name] = str(path.parent / cast(str, settings[name]))
    return Config(**settings, options=options)  # type: ignore[arg-type]  # each was checked by its key


class _File(TomlFile):
    """A file with a table of limits."""

    def limits(self) -> Options:
        """The table of limits, and ``sys_interval``, in place of the defaults."""
        options = Options()
        places: list[tuple[str, ...]] = []
        if "limits" in self.table:
            places += [("limits", name) for name in cast(dict[str, object], self.value(("limits",), _table))]
        if "sys_interval" in self.table:
            if ("limits", "sys_interval") in places:
                raise self.wrong(
                    ("limits", "sys_interval"), "it is set above [limits] already; keep one of the two"
                )
            places.append(("sys_interval",))
        for keys in places:
            if keys[-1] not in LIMIT:
                raise self.unknown(keys, [*LIMIT])
            setattr(options, keys[-1], self.value(keys, LIMIT[keys[-1]].kind.take))
        try:
            options.check()
        except ValueError as error:
            name = str(error).partition(" ")[0]
            raise self.wrong(("limits", name), str(error).removeprefix(name).lstrip()) from None
        return options

    def unknown(self, keys: Keys, known: Sequence[str]) -> ConfigError:
        """The error for a key that is not known, with the one that was perhaps meant."""
        if len(keys) == 1 and keys[0] in LIMIT:
            return self.wrong(keys, "this key belongs below [limits]")
        if len(keys) == 2 and keys[1] in _KEYS:
            return self.wrong(keys, "this key belongs at the top, above [limits]")
        return super().unknown(keys, known)


def with_settings(config: Config, settings: Mapping[str, object]) -> Config:
    """``config`` with ``settings`` over it, of the environment or the command line: values by their names.

    What says where to listen, or where to keep state, takes the place of all that was said of that before.
    """
    top = {name: value for name, value in settings.items() if name in TOP}
    if "listen" in top:
        top["listeners"] = ()
    if top.get("memory"):
        top = {"data": None, "durability": None, **top}
    elif "data" in top:
        top = {"memory": False, **top}
    for name, value in settings.items():
        if name in LIMIT:
            setattr(config.options, name, value)
    return replace(config, **top)  # type: ignore[arg-type]  # each was checked by its kind


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, as below the line [limits], got {shown(value)}")
    return value


def _anything(value: object) -> object:
    return value


_KEYS: Final[dict[str, Callable[[object], object]]] = {
    **{name: one.kind.take for name, one in TOP.items()},
    "sys_interval": LIMIT["sys_interval"].kind.take,
    "listener": _anything,
    "limits": _table,
}
"""What stands at the top of the file."""
