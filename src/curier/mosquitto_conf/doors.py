"""The listeners of a ``mosquitto.conf``, and which lines belong to which of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from curier.errors import ConfigError
from curier.listeners import Listener
from curier.mosquitto_conf.reading import MANY, TEXTS, Line

_SECURITY: Final = frozenset(
    """acl_file allow_anonymous allow_zero_length_clientid auto_id_prefix password_file plugin auth_plugin
    psk_file""".split()
)
"""What belongs to one listener with ``per_listener_settings``, else to all, wherever it stands."""

OWN: Final = frozenset(
    """accept_protocol_versions bind_interface cafile capath certfile ciphers ciphers_tls1.3 crlfile
    dhparamfile disable_client_cert_date_checks enable_proxy_protocol http_dir keyfile max_connections max_qos
    max_topic_alias max_topic_alias_broker mount_point protocol psk_hint require_certificate socket_domain
    tls_engine tls_engine_kpass_sha1 tls_keyform tls_version use_identity_as_username use_subject_as_username
    use_username_as_clientid websockets_origin""".split()
)
"""What always belongs to the listener above it, or to the one without a line of its own."""

_FILES: Final = ("acl_file", "password_file")
_PLUGINS: Final = ("plugin", "auth_plugin", "global_plugin", "plugin_use")


@dataclass
class Door:
    """A listener of curier: settings by name."""

    settings: dict[str, object] = field(default_factory=dict)


@dataclass
class _Draft:
    """A listener of Mosquitto: its own line, if it has one, and those that belong to it."""

    line: Line | None
    lines: list[Line] = field(default_factory=list)

    def last(self, name: str) -> Line | None:
        return next((line for line in reversed(self.lines) if line.name == name), None)

    def value(self, name: str) -> str | None:
        line = self.last(name)
        return line.value if line is not None else None

    def file(self, name: str) -> str | None:
        """Its ``acl_file`` or ``password_file``; that of the dynamic security is both."""
        return self.value(name) or self.dynamic_security

    @property
    def dynamic_security(self) -> str | None:
        """The file of that plugin, where it is loaded."""
        is_there = any(line.name in _PLUGINS and is_dynamic_security(line) for line in self.lines)
        return self.value("plugin_opt_config_file") if is_there else None

    def flag(self, name: str) -> bool:
        line = self.last(name)
        return line is not None and line.is_true

    @property
    def place(self) -> str:
        return self.line.place if self.line is not None else "the listener without a line of its own"


def doors_of(
    lines: Sequence[Line],
    top: dict[str, object],
    notes: list[str],
    left_out: list[str],
    found: list[Door],
) -> list[Line]:
    """Put the listeners into ``found``, and what holds for all of them into ``top``. Returns the lines that
    belong to no listener.
    """
    is_split = _is_split(lines)
    drafts, rest = _drafts(lines, is_split)
    shared = _Draft(None, rest)
    if not drafts:
        _local_only(shared, top, notes)
    else:
        _users(drafts if is_split else [shared], top)
        for draft in drafts:
            why = _why_open(draft, shared, top, is_split)
            if why:
                left_out.append(f"{draft.place}: {why}")
                continue
            found += _doors(draft, shared, is_split, top, notes)
    taken = {*_SECURITY, "port", "bind_address", "per_listener_settings"} - {"plugin", "auth_plugin"}
    taken -= {"allow_zero_length_clientid", "auto_id_prefix"}
    passed_on = [line for draft in drafts for line in draft.lines if line.name in _PASSED_ON]
    return [line for line in [*rest, *passed_on] if line.name not in taken]


_PASSED_ON: Final = frozenset(
    """accept_protocol_versions auto_id_prefix allow_zero_length_clientid bind_interface capath
    ciphers_tls1.3 dhparamfile disable_client_cert_date_checks http_dir max_qos max_topic_alias
    max_topic_alias_broker plugin auth_plugin socket_domain tls_engine tls_engine_kpass_sha1 tls_keyform
    use_username_as_clientid""".split()
)
"""Of a listener, but said for all, or of none: ``translating`` sees to them."""


def _is_split(lines: Iterable[Line]) -> bool:
    """Whether each listener has users and rules of its own."""
    is_split = False
    security: Line | None = None
    for line in lines:
        if line.name == "per_listener_settings":
            if security is not None:
                raise line.wrong(
                    f"it has to stand above {security.name} ({security.place}), as for Mosquitto"
                )
            is_split = line.is_true
        elif line.name in _SECURITY:
            security = security or line
    return is_split


def _drafts(lines: Sequence[Line], is_split: bool) -> tuple[list[_Draft], list[Line]]:
    """The listeners, with the lines that belong to them; and the others."""
    first = _Draft(None)
    drafts = [first]
    rest: list[Line] = []
    for line in lines:
        if line.name == "listener":
            drafts.append(_Draft(line))
        elif line.name in ("port", "bind_address"):
            first.lines.append(line)
        elif line.name in OWN or (is_split and line.name in (*_SECURITY, "plugin_opt_config_file")):
            drafts[-1].lines.append(line)
        else:
            rest.append(line)
    has_first = any(line.name in ("port", "bind_address") for line in first.lines)
    if not has_first:
        if len(drafts) > 1 and (lost := [line for line in first.lines if line.name in _SECURITY]):
            raise lost[0].wrong(
                "with per_listener_settings it belongs to no listener where it stands; move it below one"
            )
        rest += first.lines
        drafts = drafts[1:]
    for lines_of_one in (rest, *(draft.lines for draft in drafts)):
        _check_twice(lines_of_one)
    return drafts, rest


def _check_twice(lines: Sequence[Line]) -> None:
    """Raise ``ConfigError`` for a text that is set twice; of flags and numbers the last counts."""
    seen: dict[str, Line] = {}
    for line in lines:
        if line.name in TEXTS and line.name not in MANY:
            if (first := seen.get(line.name)) is not None:
                raise line.wrong(
                    f"it is set in line {first.number} of {first.path} already, as Mosquitto says, too"
                )
            seen[line.name] = line


def _local_only(shared: _Draft, top: dict[str, object], notes: list[str]) -> None:
    """Without a listener, Mosquitto is for this machine only, and so is curier."""
    for name in _FILES:
        if (value := shared.value(name)) is not None:
            top[name] = value
    allowed = shared.last("allow_anonymous")
    if allowed is not None:
        top["allow_anonymous"] = allowed.is_true
    for line in shared.lines:
        if line.name in ("certfile", "keyfile", "psk_file", "psk_hint", "cafile"):
            notes.append(f"{line.place}: {line.name}: there is no listener that it could be for")


def _users(drafts: Sequence[_Draft], top: dict[str, object]) -> None:
    """Who may connect and do what, as the first listener has it that says anything of it."""
    for name in _FILES:
        value = next((value for draft in drafts if (value := draft.file(name)) is not None), None)
        if value is not None:
            top[name] = value
    if len(drafts) == 1:
        allowed = drafts[0].flag("allow_anonymous")
        if allowed or "password_file" not in top:
            top["allow_anonymous"] = allowed


def _why_open(draft: _Draft, shared: _Draft, top: dict[str, object], is_split: bool) -> str:
    """Why a listener cannot be had, as it would be more open than it was; or ""."""
    for line in (*draft.lines, *shared.lines):
        if line.name in _PLUGINS:
            if not is_dynamic_security(line):
                return f"the {line.name} of {line.place} decides there, which cannot be loaded"
            file = draft.dynamic_security or shared.dynamic_security
            if file is None:
                return f"the dynamic security of {line.place} has no plugin_opt_config_file"
            others = [name for name in _FILES if top.get(name) != file]
            if others:
                both = " and ".join(others)
                return f"the dynamic security of {line.place} decides there, and so does {both}"
    if not is_split:
        return ""
    for name in _FILES:
        value = draft.file(name)
        if value is not None and value != top.get(name):
            return f"its {name} is {value}, and there is one for all listeners: {top.get(name)}"
    knows = draft.flag("use_identity_as_username") or draft.flag("use_subject_as_username")
    has_users = draft.file("password_file") is not None or knows or draft.value("psk_hint") is not None
    if not has_users and not draft.flag("allow_anonymous"):
        return "nobody can connect there, and the users of other listeners could"
    return ""


def is_dynamic_security(line: Line) -> bool:
    """Whether that plugin is loaded here."""
    return "mosquitto_dynamic_security" in line.value


def _doors(
    draft: _Draft, shared: _Draft, is_split: bool, top: dict[str, object], notes: list[str]
) -> list[Door]:
    settings: dict[str, object] = {}
    _tls(draft, shared, settings, notes)
    for name, ours in (("max_connections", "max_connections"), ("mount_point", "mount")):
        line = draft.last(name)
        if line is not None and line.value.startswith("-"):
            continue
        if line is not None:
            settings[ours] = line.value if ours == "mount" else line.amount
    origins = tuple(line.value for line in draft.lines if line.name == "websockets_origin")
    if origins:
        settings["origins"] = origins
    if draft.flag("enable_proxy_protocol") or draft.value("enable_proxy_protocol") == "2":
        raise ConfigError(
            f"{draft.place}: enable_proxy_protocol: curier wants to know whose word is taken; take the line "
            "out, and set proxy_protocol to the networks of your proxies"
        )
    if is_split:
        settings["allow_anonymous"] = draft.flag("allow_anonymous")
    made = [
        Door({"url": url, **settings})
        for url in _urls(draft, "certificate" in settings or "psk_file" in settings)
    ]
    if len(made) > 1 and "max_connections" in settings:
        notes.append(f"{draft.place}: max_connections holds for IPv4 and IPv6, each by itself")
    for door in made:
        _check(draft, door)
    return made


def _check(draft: _Draft, door: Door) -> None:
    """Raise ``ConfigError`` for what no listener of curier can be."""
    try:
        Listener(**door.settings).check()  # type: ignore[arg-type]  # each is what its name says
    except ConfigError as error:
        raise ConfigError(f"{draft.place}: {error}") from None


_OF_TLS: Final = frozenset(
    """cafile ciphers crlfile keyfile require_certificate tls_version use_identity_as_username
    use_subject_as_username""".split()
)


def _tls(draft: _Draft, shared: _Draft, settings: dict[str, object], notes: list[str]) -> None:
    if draft.value("certfile") is None and draft.value("psk_hint") is None:
        for line in draft.lines:
            if line.name in _OF_TLS:
                notes.append(f"{line.place}: {line.name}: without a certfile there is no TLS")
        return
    for name, ours in (
        ("certfile", "certificate"),
        ("keyfile", "key"),
        ("crlfile", "crl"),
        ("ciphers", "ciphers"),
        ("psk_hint", "psk_hint"),
    ):
        if (value := draft.value(name)) is not None:
            settings[ours] = value
    if "psk_hint" in settings:
        psk_file = draft.value("psk_file") or shared.value("psk_file")
        if psk_file is None:
            raise ConfigError(f"{draft.place}: psk_hint needs a psk_file, as for Mosquitto")
        settings["psk_file"] = psk_file
        if not draft.flag("use_identity_as_username"):
            notes.append(
                f"{draft.place}: psk_hint: the identity of the key is the user; no password is asked for"
            )
    version = draft.last("tls_version")
    if version is not None:
        if version.value not in ("tlsv1.2", "tlsv1.3"):
            notes.append(f"{version.place}: tls_version: TLS 1.2 is the lowest there is")
        settings["lowest_tls"] = "1.3" if version.value == "tlsv1.3" else "1.2"
    if "certificate" not in settings:
        return
    cafile = draft.last("cafile")
    if draft.flag("require_certificate"):
        if cafile is None:
            raise ConfigError(f"{draft.place}: require_certificate needs a cafile, for curier's client_ca")
        settings["client_ca"] = cafile.value
        if draft.flag("use_subject_as_username"):
            settings["identity"] = "subject"
        if draft.flag("use_identity_as_username"):
            settings["identity"] = "common-name"
    elif cafile is not None:
        notes.append(
            f"{cafile.place}: cafile: not needed: without require_certificate no client is asked for one"
        )


def _urls(draft: _Draft, is_secure: bool) -> list[str]:
    """Where it listens. Mosquitto without an address has every one of IPv4 and IPv6."""
    is_web = draft.value("protocol") == "websockets"
    scheme = {(False, False): "tcp", (False, True): "tls", (True, False): "ws", (True, True): "wss"}[
        is_web, is_secure
    ]
    if draft.line is None:
        port, host = draft.value("port") or "1883", draft.value("bind_address") or ""
    else:
        port, _, host = draft.line.value.partition(" ")
        host = host.strip(" ").split(" ")[0]
        if not port.isdecimal() or int(port) > 65_535:
            raise draft.line.wrong(f"expected a port, got {port!r}")
    if port == "0" and host.startswith("/"):
        return [f"{'' if scheme == 'tcp' else scheme + '+'}unix://{host}"]
    if ":" in host:
        host = f"[{host}]"
    hosts = (
        [host]
        if host
        else {"ipv4": ["0.0.0.0"], "ipv6": ["[::]"]}.get(
            draft.value("socket_domain") or "", ["0.0.0.0", "[::]"]
        )
    )
    return [f"{scheme}://{one}:{port}" for one in hosts]
