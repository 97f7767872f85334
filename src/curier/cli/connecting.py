"""How a command finds its server: the options that pub, sub and rr have in common, and what they become."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from curier.cli.options import NEVER, PORT, QOS, Decorated, expiry, not_offered, option, protocol_version
from curier.cli.profiles import KEYS, load_profile
from curier.cli.properties import PropertyOptions, parse_properties
from curier.cli.tls_options import TLS_OPTIONS, TlsOptions
from curier.cli.topics import check_name
from curier.cli.wording import in_options
from curier.errors import ConfigError
from curier.types import Message, QoS, Will

if TYPE_CHECKING:
    import ssl

    from curier.client.settings import ClientSettings

PASSWORD_VARIABLE: Final = "CURIER_PASSWORD"
TLS_PORT: Final = 8883
_LONG: Final = {"password": "--pw"}
"""Options that are not called as what they become."""

PLACES: Final = ("url", "host", "unix")
"""Options that say where the server is; one of them at a time."""

_SERVER: Final = "Server"
_SESSION: Final = "Session"
_WILL: Final = "Will"

_OPTIONS: Final = (
    option(
        "-h",
        "--host",
        metavar="HOST",
        section=_SERVER,
        help="Name or address of the server.  [default: localhost]",
    ),
    option(
        "-p",
        "--port",
        metavar="PORT",
        type=PORT,
        section=_SERVER,
        help="Its port.  [default: 1883, or 8883 with TLS]",
    ),
    option(
        *("-L", "--url"),
        metavar="URL",
        multiple=True,
        section=_SERVER,
        help="mqtt, mqtts, ws, wss or unix://...; of mqtt(s), what follows the port is the topic. "
        "Given again: a server to turn to when one fails.",
    ),
    option("--unix", metavar="PATH", section=_SERVER, help="A Unix socket in place of -h and -p."),
    option(
        *("-A", "local_address"),
        metavar="ADDRESS",
        section=_SERVER,
        help="Connect from this address of this machine.",
    ),
    option("--proxy", metavar="URL", section=_SERVER, help="A proxy on the way: http://... or socks5://..."),
    option("-u", "--username", metavar="NAME", section=_SERVER, help="Who you are."),
    option(
        *("-P", "--pw", "password"),
        metavar="TEXT",
        section=_SERVER,
        help="The password. Others on this machine can see it; $CURIER_PASSWORD or a file are safer.",
    ),
    option(
        "--password-file", metavar="FILE", section=_SERVER, help="The password is the first line of FILE."
    ),
    option("--profile", metavar="NAME", section=_SERVER, help="Take what is not given from this profile."),
    option(
        "--config",
        metavar="FILE",
        type=click.Path(),
        section=_SERVER,
        help="Where profiles are.  [default: ~/.config/curier/client.toml]",
    ),
    option("-i", "--id", metavar="TEXT", section=_SESSION, help="Client Identifier."),
    option(
        "-I", "--id-prefix", metavar="TEXT", section=_SESSION, help="Its beginning; the process id follows."
    ),
    option(
        *("-V", "--protocol-version"),
        metavar="5|311|31",
        type=protocol_version,
        section=_SESSION,
        help="Version of MQTT.  [default: 5, or less if the server refuses that]",
    ),
    option(
        *("-k", "--keepalive"),
        metavar="SECONDS",
        type=click.IntRange(0, 65535),
        section=_SESSION,
        help="Ask the server for a sign of life after so much silence.  [default: 60]",
    ),
    option(
        *("-c", "--disable-clean-session"),
        is_flag=True,
        section=_SESSION,
        help="Resume the session of this -i, and leave it behind; it does not expire.",
    ),
    option(
        *("-x", "--session-expiry-interval"),
        metavar="SECONDS",
        type=expiry,
        section=_SESSION,
        help="The session expires after so long without a connection; -1: never (5.0).",
    ),
    option(
        "--reconnect",
        metavar="N",
        type=click.IntRange(min=0),
        section=_SESSION,
        help="Try to connect again so many times in a row; 0: give up at once.  [default: 5; sub: no end]",
    ),
    option(
        "--retry-connect",
        is_flag=True,
        section=_SESSION,
        help="Try again where the first attempt fails, too.",
    ),
    *TLS_OPTIONS,
    option("--will-topic", metavar="TOPIC", section=_WILL, help="Where the will is published."),
    option("--will-payload", metavar="TEXT", section=_WILL, help="What it says.  [default: nothing]"),
    option("--will-qos", type=QOS, metavar="0|1|2", section=_WILL, help="Its QoS.  [default: 0]"),
    option("--will-retain", is_flag=True, section=_WILL, help="Retain it."),
    option(
        *("-D", "--property", "properties"),
        metavar="PACKET NAME VALUE",
        nargs=3,
        multiple=True,
        help="A property of 5.0, as in: -D publish content-type text/plain. "
        "That of a user has two values: -D publish user-property k v.",
    ),
    option(
        "--property-pair",
        "property_pairs",
        nargs=4,
        multiple=True,
        hidden=True,
        help="What -D PACKET user-property NAME VALUE becomes.",
    ),
    option("-d", "--debug", is_flag=True, help="Say on stderr what happens."),
    option("--quiet", is_flag=True, help="Say nothing of what can go on; only what ends the command."),
    not_offered(
        "-S", "look the server up with `host -t SRV _mqtt._tcp.NAME`, and give -h and -p", is_flag=True
    ),
    option("--nodelay", is_flag=True, hidden=True, help="For mosquitto's sake: curier never delays."),
)


def connection_options(command: Decorated) -> Decorated:
    """The options of every command that connects; ``Connection.take`` picks them out of what was given."""
    for one in reversed(_OPTIONS):
        command = one(command)
    return command


class Connection(TlsOptions):
    """What the options above say, and a profile where they say nothing. ``topic`` is that of ``--url``."""

    url: tuple[str, ...] = ()
    host: str | None = None
    port: int | None = None
    unix: str | None = None
    local_address: str | None = None
    proxy: str | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    id: str | None = None
    id_prefix: str | None = None
    protocol_version: int | None = None
    keepalive: int | None = None
    disable_clean_session: bool = False
    session_expiry_interval: int | None = None
    reconnect: int | None = None
    max_inflight: int | None = None
    qos: int | None = None
    will_topic: str | None = None
    will_payload: str | None = None
    will_qos: int | None = None
    will_retain: bool = False
    retry_connect: bool = False
    debug: bool = False
    quiet: bool = False
    properties: PropertyOptions
    topic: str | None = None

    def __init__(self, **values: Any) -> None:
        """``values`` of the attributes above; what they say there holds for the others."""
        self.__dict__.update(values)

    @staticmethod
    def take(ctx: click.Context, options: dict[str, Any], packets: Sequence[str]) -> Connection:
        """Take what is of the connection out of the options, and the profile into it.

        ``packets`` are those that ``-D`` may name. Raises ``click.UsageError`` and ``ConfigError``.
        """
        singles, pairs = options.pop("properties"), options.pop("property_pairs")
        options.pop("nodelay")
        profile = load_profile(options.pop("config"), options.pop("profile"))
        values = {name: options.pop(name) for name in (*KEYS, *_MORE) if name in options}
        given = {name for name in values if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        for rivals in (PLACES, ("password", "password_file"), ("id", "id_prefix")):
            named = [_LONG.get(name, f"--{name.replace('_', '-')}") for name in rivals if name in given]
            if len(named) > 1:
                raise click.UsageError(f"{' and '.join(named)} cannot both be: choose one of them")
            if named:  # it takes the place of what the profile says in other words
                profile = {name: value for name, value in profile.items() if name not in rivals}
        if given.intersection(PLACES) and "port" not in given:
            profile.pop("port", None)
        values |= {name: value for name, value in profile.items() if name not in given}
        urls, topic = split_topics(values["url"])
        values |= {
            "url": urls,
            "topic": topic,
            "properties": parse_properties(singles, pairs, ("connect", "will", "disconnect", *packets)),
        }
        if not given.intersection(("password", "password_file")) and PASSWORD_VARIABLE in os.environ:
            if values["username"] is not None or any(_names_a_user(url) for url in urls):
                values |= {"password": os.environ[PASSWORD_VARIABLE], "password_file": None}
        connection = Connection(**values)
        connection.check()
        return connection

    def check(self) -> None:
        """Raise ``click.UsageError`` for what does not go together."""
        self.check_tls()
        if self.port is not None and (self.url or self.unix):
            raise click.UsageError("-p goes with -h; in a URL the port stands behind the host")
        if sum((bool(self.url), self.host is not None, self.unix is not None)) > 1:
            raise click.UsageError("the profile has more than one of url, host and unix; choose one of them")
        if self.disable_clean_session and not self.client_id:
            raise click.UsageError("-c needs -i: the server keeps sessions by Client Identifier")
        if self.will_topic is None and (
            self.will_payload is not None or self.will_qos is not None or self.will_retain
        ):
            raise click.UsageError("a will needs --will-topic")
        check_name("--will-topic", self.will_topic)
        check_name("-D will response-topic", self.properties.of("will").get("response_topic"))
        if self.unix is not None and self.local_address is not None:
            raise click.UsageError("-A is for TCP: a Unix socket has no address")
        if self.will_topic is None and self.properties.of("will"):
            raise click.UsageError("-D will needs --will-topic")
        if self.properties and self.protocol_version not in (None, 5):
            raise click.UsageError("-D needs MQTT 5.0, and -V says otherwise")

    @property
    def client_id(self) -> str:
        """The Client Identifier; "" lets the server choose."""
        if self.id_prefix is not None:
            return f"{self.id_prefix}{os.getpid()}"
        return self.id or ""

    def settings(self, needs_version_5: bool = False, attempts: int | None = None) -> ClientSettings:
        """The settings of the client. ``attempts`` to connect again, where nobody has said.

        Raises ``ConfigError``, ``click.UsageError``.
        """
        from curier.client.settings import ClientSettings, Reconnect

        own = self.properties.of("connect")
        retries = self.reconnect if self.reconnect is not None else attempts
        expires = self.session_expiry_interval
        if expires is None:
            expires = own.pop("session_expiry", NEVER if self.disable_clean_session else None)
        elif "session_expiry" in own:
            raise click.UsageError("-x and -D connect session-expiry-interval are the same: keep one")
        version = self.protocol_version
        if (needs_version_5 or self.properties) and version is None:
            version = 5  # an older one would drop in silence what was asked for
        method, data = own.pop("authentication_method", None), own.pop("authentication_data", None)
        if method is None and data is not None:
            raise click.UsageError("-D connect authentication-data needs an authentication-method")
        tls = self.tls()
        settings = ClientSettings(
            url=self.urls(tls is not None),
            client_id=self.client_id,
            username=self.username,
            password=self.secret(),
            version=version,
            keep_alive=60 if self.keepalive is None else self.keepalive,
            clean_start=False if self.disable_clean_session else None,
            session_expiry=expires,
            will=self.will(),
            tls=tls,
            proxy=self.proxy,
            local_address=self.local_address,
            retry_first_connect=self.retry_connect,
            reconnect=None if retries == 0 else Reconnect(attempts=retries),
            max_inflight=self.max_inflight,
            authentication=None if method is None else _authentication(method, data),
            **own,
        )
        try:
            settings.check()
        except ConfigError as error:
            raise ConfigError(in_options(str(error))) from error
        return settings

    def urls(self, encrypted: bool) -> list[str]:
        """Where the server is, as URLs."""
        if self.unix is not None:
            if encrypted:
                raise click.UsageError("TLS on a Unix socket is not offered: leave the TLS options out")
            from urllib.parse import quote

            return [f"unix://{quote(os.path.abspath(self.unix))}"]
        for url in self.url:
            if encrypted and url.lower().startswith(("mqtt:", "ws:", "unix:")):
                scheme = url.partition(":")[0]
                raise click.UsageError(
                    f"a {scheme} URL is not encrypted, but there are TLS options: use {scheme}s"
                )
        if self.url:
            return [*self.url]
        host = self.host or "localhost"
        host = f"[{host}]" if ":" in host else host
        encrypted = encrypted or self.port == TLS_PORT
        port = self.port or (TLS_PORT if encrypted else 1883)
        return [f"{'mqtts' if encrypted else 'mqtt'}://{host}:{port}"]

    def secret(self) -> str | None:
        """The password, from wherever it is."""
        if self.password_file is None:
            return self.password
        try:
            with open(self.password_file, "rb") as file:
                return file.readline().rstrip(b"\r\n").decode()
        except OSError as error:
            raise ConfigError(f"password file {self.password_file}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigError(f"password file {self.password_file}: expected UTF-8 text") from None

    def will(self) -> Will | None:
        """The will, with its properties."""
        if self.will_topic is None:
            return None
        own = self.properties.of("will")
        delay = own.pop("delay", 0)
        payload = (self.will_payload or "").encode(errors="surrogateescape")
        return Will(
            Message(self.will_topic, payload, QoS(self.will_qos or 0), self.will_retain, **own), delay
        )

    def tls(self) -> ssl.SSLContext | None:
        """What the TLS options make; None where there are none."""
        if not self.ask_for_tls:
            return None
        from curier.cli.tls import client_context

        return client_context(self)


_MORE: Final = ("local_address", "keyform", "retry_connect", "debug", "quiet")
"""Options of a connection that no profile has."""


def _authentication(method: str, data: bytes | None) -> Any:
    from curier.client.settings import Authentication

    class Given(Authentication):
        """Says what the command line said, and nothing more."""

        def begin(self) -> bytes | None:
            return data

    authentication = Given()
    authentication.method = method
    return authentication


def _names_a_user(url: str) -> bool:
    """Whether a URL has a user name and no password."""
    user, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    return bool(at) and ":" not in user


def split_topics(urls: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """``mqtt://host:port/topic`` as the URL of the server and the topic, which stays as it is written."""
    servers: list[str] = []
    topics: set[str] = set()
    for url in urls:
        scheme, separator, rest = url.partition("://")
        if scheme.lower() not in ("mqtt", "mqtts"):
            servers.append(url)
            continue
        authority, _, topic = rest.partition("/")
        port = authority.rpartition(":")[2] if ":" in authority and not authority.endswith("]") else ""
        if "@" in topic and port.strip("0123456789"):  # not a port, so it may be a part of a password
            raise click.UsageError("in the user and the password of a URL, / is written %2F")
        servers.append(f"{scheme}{separator}{authority}")
        if topic:
            topics.add(topic)
    if len(topics) > 1:
        raise click.UsageError("the URLs have different topics; give one of them, or use -t")
    return tuple(servers), topics.pop() if topics else None
