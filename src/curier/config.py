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

import glob
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from curier.auth.bans import BanSettings
from curier.broker.options import Options
from curier.cluster_settings import (
    DEFAULT_NAME,
    DEFAULT_PARTITIONS,
    DEFAULT_REPLICAS,
    ClusterSettings,
    Sync,
    WorkerSettings,
)
from curier.config_authenticators import HOOKS, Asked, read_authenticators
from curier.config_bans import read_bans
from curier.config_listeners import read_listeners
from curier.errors import ConfigError
from curier.listeners import DEFAULT_LISTEN, Listener, Network, parse_listen
from curier.settings.cluster import CLUSTER, own_name
from curier.settings.kinds import DIRECTORY, FILE
from curier.settings.setting import Setting
from curier.settings.table import ALL, LIMIT, TOP
from curier.settings.web import OFF, PEOPLE, WEB
from curier.strict_toml import Keys, TomlFile, shown

if TYPE_CHECKING:
    from curier.bridge.settings import BridgeSettings
    from curier.webhooks import WebhookSettings

Durability = Literal["fsync", "os", "memory"]


@dataclass(frozen=True)
class Config:
    """Settings of ``curier broker``.

    ``listen`` are URLs, ``listeners`` those that have more than a URL; ``None`` for the first means the
    default, where there are none of the second. ``certificate``, ``key`` and ``client_ca`` are for all of
    ``listen`` that speak TLS. ``allow_anonymous`` ``None`` means: on loopback only, and not at all beside a
    password file.
    ``data`` ``None`` means ``default_directory()``, ``durability`` ``None`` means ``fsync``.
    ``accept_loss`` and ``lab`` are for one start, and so no settings of a file. ``authenticators`` are
    asked in their order who may connect, the ``password_file`` before them. ``hooks`` are files;
    ``hooks_authenticate``, no setting either, is whether they decide who may connect, None as long as they
    have not been read. ``options`` are the core's limits. ``origins`` say where a setting comes from, by
    its name: file and line, an option, a variable; what is not there is a default. ``files`` are those that
    were read, in order, ``blank`` those of them with nothing in them.
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
    lab: Path | None = None
    allow_anonymous: bool | None = None
    password_file: str | None = None
    authenticators: tuple[Asked, ...] = ()
    bans: BanSettings = field(default_factory=BanSettings)
    acl_file: str | None = None
    acl_dialect: str = "mosquitto-2.1"
    hooks: tuple[str, ...] = ()
    hooks_authenticate: bool | None = None
    no_trace: bool = False
    no_past: bool = False
    log_level: str = "info"
    log_levels: tuple[tuple[str, str], ...] = ()
    log_format: str = "plain"
    log_file: str | None = None
    audit_log: str | None = None
    web: str | None = None
    web_hosts: tuple[str, ...] = ()
    web_prefix: str = ""
    web_trusted_proxies: tuple[Network, ...] = ()
    web_certificate: str | None = None
    web_key: str | None = None
    web_tokens: str | None = None
    web_open_metrics: bool = False
    web_viewers: tuple[str, ...] = ()
    web_operators: tuple[str, ...] = ()
    web_admins: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ()
    node_name: str = ""
    workers: int = 1
    worker_name: str = ""
    worker: WorkerSettings | None = None
    cluster_name: str = DEFAULT_NAME
    cluster_sync: Sync = "always"
    cluster_monitors: tuple[str, ...] = ()
    cluster_credentials: str | None = None
    cluster_cafile: str | None = None
    cluster_certificate: str | None = None
    cluster_key: str | None = None
    cluster_replicas: int = DEFAULT_REPLICAS
    cluster_partitions: int = DEFAULT_PARTITIONS
    webhooks: tuple[WebhookSettings, ...] = ()
    bridges: tuple[BridgeSettings, ...] = ()
    options: Options = field(default_factory=Options)
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    files: tuple[Path, ...] = field(default=(), compare=False)
    blank: tuple[Path, ...] = field(default=(), compare=False)

    def check(self) -> None:
        """Raise ``ConfigError`` for settings that are each right but do not go together."""
        for wrong in self.problems():
            raise wrong

    def problems(self) -> Iterator[ConfigError]:
        """All that does not go together."""
        checks: tuple[Callable[[], None], ...] = (
            *(door.check for door in self.doors()),
            self._check_tls,
            *(partial(self._check_anonymous, door) for door in self.doors()),
            self._check_hooks,
            self._check_web,
            self._check_cluster,
        )
        for check in checks:
            try:
                check()
            except ConfigError as error:
                yield error
        if self.data is not None and self.memory:
            yield ConfigError("data and memory cannot both be: choose a directory, or memory only")
        if self.memory and self.durability in ("fsync", "os"):
            yield ConfigError(
                f"durability {self.durability} and memory cannot both be: "
                "what is in memory only does not survive; leave one of them out"
            )
        yield from map(ConfigError, self.options.problems())

    @property
    def directory(self) -> str | None:
        """Where durable state lies: ``data``, or the user's own place for such things; None: nowhere."""
        if self.memory or self.durability == "memory" or self.cluster or self.worker:
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
        return bool(self.asked) or (
            self.hooks_authenticate if self.hooks_authenticate is not None else bool(self.hooks)
        )

    @property
    def asked(self) -> tuple[Asked, ...]:
        """All who are asked who may connect, in order, but for hooks that nothing is said of."""
        if self.password_file is None:
            return self.authenticators
        return (Asked("password-file", {"file": self.password_file}), *self.authenticators)

    def _check_hooks(self) -> None:
        """It is clear when those in the hook files are asked."""
        is_said = any(one.kind == HOOKS for one in self.authenticators)
        way_out = f'say in the configuration file when it is asked ([[authenticator]], kind = "{HOOKS}")'
        if is_said and (self.hooks_authenticate is False or not self.hooks):
            raise ConfigError(f'kind = "{HOOKS}": there is no authenticator in the hook files')
        if self.hooks_authenticate and not is_said and (self.asked or self.allow_anonymous):
            other = "allow_anonymous"
            if self.asked:
                other = "password_file" if self.password_file is not None else "[[authenticator]]"
            raise ConfigError(
                f"{other} and an authenticator in the hook files cannot both be, as long as nothing says who "
                f"comes first: leave one of them out, or {way_out}"
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

    def _check_web(self) -> None:
        """Whoever speaks TLS needs a certificate, and nobody else has use for one."""
        is_secure = (self.web or "").startswith("https:")
        pair = (self.web_certificate, self.web_key)
        if is_secure and None in pair:
            raise ConfigError(
                f"{self.web} needs a certificate and its key: give --web-certificate and --web-key "
                "(certificate and key below [web])"
            )
        if not is_secure and self.web != OFF and pair != (None, None):
            raise ConfigError(
                "certificate and key below [web] (--web-certificate, --web-key) are for https, and the "
                "window speaks http: give --web https://127.0.0.1:9883, or leave them out"
            )
        named = [name for name in PEOPLE if getattr(self, name)]
        if named and not self.has_users:
            one = WEB[named[0]]
            raise ConfigError(
                f"{one.key_there} below [web] ({one.option}) names users of the broker, and "
                "there are none: give --password-file FILE (password_file = ...), or leave it out"
            )

    @property
    def membership(self) -> ClusterSettings | None:
        """The cluster that it is one node of; None: it is alone."""
        if not self.cluster:
            return None
        return ClusterSettings(
            self.cluster,
            self.node_name or own_name(),
            self.cluster_name,
            self.cluster_sync,
            self.cluster_replicas,
            self.cluster_partitions,
            self.cluster_monitors,
            self.cluster_credentials or "",
            self.cluster_cafile or "",
            self.cluster_certificate or "",
            self.cluster_key or "",
        )

    @property
    def part(self) -> ClusterSettings | WorkerSettings | None:
        """What it is a part of; None: it is alone."""
        return self.worker or self.membership

    def name_of_worker(self, number: int) -> str:
        """What one of the ``workers`` is called, counted from 1."""
        return f"{self.node_name or own_name() or 'worker'}-{number}"

    def of_worker(self, number: int, engine: int = -1) -> Config:
        """The settings of one of the ``workers``, counted from 1: the first has the window, and what is to be
        there once. ``engine`` is where it meets the others where there is no cluster.
        """
        name = self.name_of_worker(number)
        return replace(
            self,
            workers=1,
            worker_name=name,
            worker=WorkerSettings(name, self.workers, engine) if not self.cluster else None,
            node_name=name,
            no_trace=self.no_trace or number != 1,
            bridges=self.bridges if number == 1 else (),
            listen=None,
            certificate=None,
            key=None,
            client_ca=None,
            listeners=tuple([replace(door, reuse_port=True) for door in self.doors()]),
            web=self.web if number == 1 else OFF,
            web_certificate=self.web_certificate if number == 1 else None,
            web_key=self.web_key if number == 1 else None,
        )

    def _check_cluster(self) -> None:
        """A cluster keeps all there is to keep."""
        self._check_workers()
        if self.membership is None:
            return
        self.membership.check()
        for option, is_given in (
            ("data", self.data is not None),
            ("memory", self.memory),
            ("durability", self.durability is not None),
        ):
            if is_given:
                raise ConfigError(
                    f"{option} and cluster cannot both be: a cluster keeps all there is to keep; leave "
                    f"{option} out"
                )

    def _check_workers(self) -> None:
        """They share ports, and without a cluster nothing of theirs is on a disk, which has to be said."""
        if not 1 <= self.workers <= 64:
            raise ConfigError(f"workers: from 1 to 64, not {self.workers}")
        if self.workers == 1:
            return
        if not sys.platform.startswith("linux"):
            raise ConfigError(
                "workers: only Linux spreads the connections of one port over several processes; leave "
                "workers out, and take one broker"
            )
        for door in self.doors():
            if door.address.carrier != "tcp" or not door.address.port:
                raise ConfigError(f"{door.url}: workers share a port of TCP, and it has to have a number")
        if self.membership is None:
            self._check_in_memory()

    def _check_in_memory(self) -> None:
        """Nobody is to find out later that nothing was kept."""
        ways = (
            "say that this is meant with --memory (memory = true), keep it at servers of NATS with --cluster "
            "nats://..., or leave workers out: one broker keeps its data on disk"
        )
        if self.data is not None:
            raise ConfigError(f"data and workers cannot both be: workers keep everything in memory; {ways}")
        if self.durability in ("fsync", "os") or self.directory is not None:
            raise ConfigError(
                f"workers keep everything in memory, and all is lost when they are stopped: {ways}"
            )
        if any(door.acme for door in self.doors()):
            raise ConfigError("acme and workers cannot both be: each would ask for certificates of its own")
        WorkerSettings(self.name_of_worker(self.workers), self.workers, -1).check()

    def _check_anonymous(self, door: Listener) -> None:
        """Somebody may connect there, and where strangers may, that was asked for."""
        users = "--password-file FILE (password_file = ...; make one with: curier passwd FILE USER)"
        address = door.address
        why = door.why_closed(address, self.allow_anonymous) if not self.has_users else ""
        if why == "nobody":
            raise ConfigError(
                f"{door.url}: allow_anonymous is false and there are no users, so nobody can connect: "
                f"give {users}"
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
    config, wrong = read(path)
    if wrong:
        raise wrong[0]
    return config


def read(path: Path) -> tuple[Config, list[ConfigError]]:
    """Read a TOML file as far as it can be read, and say all that is wrong with it.

    Raises ``ConfigError`` where there is no file, or no TOML in it.
    """
    file = _File(path)
    file.include()
    settings: dict[str, Any] = {}
    for name in file.table:
        if name not in _KEYS:
            file.errors.append(file.unknown((name,), [*_KEYS]))
        elif name in TOP:
            with file.noted():
                settings[name] = file.value((name,), _KEYS[name])
                file.origins[name] = file.place((name,))
    for name in settings.keys() & _PATHS:
        settings[name] = str(file.folder((name,)) / settings[name])
    if "hooks" in settings:
        settings["hooks"] = tuple(str(file.folder(("hooks",)) / name) for name in settings["hooks"])
    if "listener" in file.table:
        with file.noted():
            settings["listeners"] = read_listeners(file)
    if "authenticator" in file.table:
        with file.noted():
            settings["authenticators"] = read_authenticators(file)
    if "ban" in file.table:
        with file.noted():
            settings["bans"] = read_bans(file, file.origins)
    if "webhook" in file.table:
        from curier.config_webhooks import read_webhooks  # few have any

        with file.noted():
            settings["webhooks"] = read_webhooks(file)
    if "bridge" in file.table:
        from curier.config_bridges import read_bridges  # as few

        with file.noted():
            settings["bridges"] = read_bridges(file)
    for name, known in (("web", WEB), ("cluster", CLUSTER)):
        if name in file.table:
            with file.noted():
                settings.update(file.table_of(name, known))
    config = Config(
        **settings,
        options=file.limits(),
        origins=file.origins,
        files=tuple(one.path for one in file.files),
        blank=tuple(one.path for one in file.files if one.is_blank),
    )
    return config, file.errors


class _File(TomlFile):
    """The file, with a table of limits."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.origins: dict[str, str] = {}
        self.files: list[TomlFile] = [self]

    def include(self) -> None:
        """Add the files that ``include`` names, in order; of one pattern, in the order of their names."""
        patterns: list[str] = []
        if "include" in self.table:
            with self.noted():
                patterns = cast(list[str], self.value(("include",), _patterns))
        for pattern in patterns:
            found = sorted(glob.glob(pattern, root_dir=self.path.parent))
            if not found and not glob.has_magic(pattern):
                text = f"there is no file {self.path.parent / pattern}"
                self.errors.append(self.wrong(("include",), text))
            for name in found:
                path = self.path.parent / name
                if path.resolve() != self.path.resolve():  # which a pattern may well match
                    with self.noted():
                        self._include(TomlFile(path))

    def _include(self, other: TomlFile) -> None:
        self.files.append(other)
        if "include" in other.table:
            raise other.wrong(("include",), "a file that is included cannot include others")
        self.add(other)

    def table_of(self, table: str, known: Mapping[str, Setting]) -> dict[str, Any]:
        """The settings of that table, by their names."""
        names = {one.key_there: one for one in known.values()}
        found: dict[str, Any] = {}
        for key in cast(dict[str, object], self.value((table,), partial(_take_table, table))):
            keys = (table, key)
            with self.noted():
                if key not in names:
                    raise self.unknown(keys, [*names])
                one = names[key]
                value = self.value(keys, one.kind.take)
                found[one.name] = str(self.folder(keys) / str(value)) if one.kind is FILE else value
                self.origins[one.name] = self.place(keys)
        return found

    def limits(self) -> Options:
        """The table of limits, and ``sys_interval``, in place of the defaults."""
        options = Options()
        places: list[tuple[str, ...]] = []
        if "limits" in self.table:
            with self.noted():
                table = cast(dict[str, object], self.value(("limits",), partial(_take_table, "limits")))
                places += [("limits", name) for name in table]
        if "sys_interval" in self.table:
            if ("limits", "sys_interval") in places:
                text = "it is set above [limits] already; keep one of the two"
                self.errors.append(self.wrong(("limits", "sys_interval"), text))
            places.append(("sys_interval",))
        for keys in places:
            with self.noted():
                if keys[-1] not in LIMIT:
                    raise self.unknown(keys, [*LIMIT])
                setattr(options, keys[-1], self.value(keys, LIMIT[keys[-1]].kind.take))
                self.origins[keys[-1]] = self.place(keys)
        for problem in options.problems():
            name, _, text = problem.partition(" ")
            self.errors.append(self.wrong(("limits", name), text))
        return options

    def unknown(self, keys: Keys, known: Sequence[str]) -> ConfigError:
        """The error for a key that is not known, with the one that was perhaps meant."""
        if len(keys) == 1 and keys[0] in LIMIT:
            return self.wrong(keys, "this key belongs below [limits]")
        if len(keys) == 2 and keys[1] in _KEYS:
            return self.wrong(keys, "this key belongs at the top, above [limits]")
        return super().unknown(keys, known)


def with_settings(config: Config, settings: Mapping[str, object], origin: Callable[[Setting], str]) -> Config:
    """``config`` with ``settings`` over it, of the environment or the command line: values by their names.
    ``origin`` says of a setting where it comes from.

    What says where to listen, or where to keep state, takes the place of all that was said of that before.
    """
    top = {name: value for name, value in settings.items() if name not in LIMIT}
    if "listen" in top:
        top["listeners"] = ()
    if top.get("memory"):
        top = {"data": None, "durability": None, **top}
    elif "data" in top:
        top = {"memory": False, **top}
    for name, value in settings.items():
        if name in LIMIT:
            setattr(config.options, name, value)
    origins = {name: place for name, place in config.origins.items() if name not in top}
    origins.update((name, origin(ALL[name])) for name in settings)
    return replace(config, **top, origins=origins)  # type: ignore[arg-type]  # each was checked by its kind


def _take_table(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, as below the line [{name}], got {shown(value)}")
    return value


def _anything(value: object) -> object:
    return value


def _patterns(value: object) -> list[str]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not all(isinstance(one, str) and one for one in patterns):
        raise ValueError(f'expected a pattern of paths, such as "conf.d/*.toml", got {shown(value)}')
    return patterns


_PATHS: Final = frozenset(name for name, one in TOP.items() if one.kind in (FILE, DIRECTORY))
_KEYS: Final[dict[str, Callable[[object], object]]] = {
    **{name: one.kind.take for name, one in TOP.items()},
    "sys_interval": LIMIT["sys_interval"].kind.take,
    "listener": _anything,
    "include": _patterns,
    "authenticator": _anything,
    "ban": _anything,
    "web": _anything,
    "cluster": _anything,
    "webhook": _anything,
    "bridge": _anything,
    "limits": _anything,
}
"""What stands at the top of the file."""
