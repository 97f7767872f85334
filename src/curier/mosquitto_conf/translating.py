"""Lines of a ``mosquitto.conf`` as a configuration file of curier, and what of them has no counterpart.

What is translated is never more open than Mosquitto was: a listener or a bridge that would be is left out,
and named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from curier.mosquitto_conf.bridges import Bridge, bridges_of
from curier.mosquitto_conf.doors import OWN, Door, doors_of, is_dynamic_security
from curier.mosquitto_conf.reading import FLAGS, Line
from curier.settings.kinds import FILE, TEXT, Kind
from curier.settings.listener import LISTENER
from curier.settings.table import LIMIT, TOP

SAME: Final = {
    "queue_qos0_messages": "queue_qos0",
    "retain_available": "retain_available",
    "sys_interval": "sys_interval",
    "max_inflight_messages": "max_inflight",
    "max_inflight_bytes": "max_inflight_bytes",
    "max_queued_messages": "max_queued_messages",
    "max_queued_bytes": "max_queued_bytes",
    "max_keepalive": "keep_alive_maximum",
    "max_packet_size": "max_packet_size",
    "memory_limit": "memory_limit",
    "global_max_connections": "max_connections",
    "global_max_clients": "max_sessions",
    "max_qos": "maximum_qos",
    "max_topic_alias": "topic_alias_maximum",
    "max_topic_alias_broker": "outgoing_topic_aliases",
}
"""Limits with another name. Of those where 0 means none in Mosquitto, curier's default is left."""

_ZERO_COUNTS: Final = frozenset(("sys_interval", "max_qos", "max_topic_alias", "max_topic_alias_broker"))

NOT_NEEDED: Final = {
    "allow_duplicate_messages": "Mosquitto ignores it as well",
    "autosave_interval": "what is acknowledged is on the disk already",
    "autosave_on_changes": "what is acknowledged is on the disk already",
    "check_retain_source": "the rules of acl_file decide",
    "dhparamfile": "keys are agreed on by elliptic curves",
    "log_timestamp": "every line has the time",
    "persistence_file": "the names in the data directory are fixed",
    "pid_file": "systemd and others need none",
    "set_tcp_nodelay": "it is always on",
    "store_clean_interval": "nothing is left to be cleaned",
    "retry_interval": "Mosquitto ignores it as well",
    "user": "start it as that user; see docs/deployment.md",
    "websockets_headers_size": "headers are bounded",
    "websockets_log_level": "the log has WebSockets like all else",
}

NONE: Final = {
    "accept_protocol_versions": "3.1, 3.1.1 and 5.0 are always taken",
    "allow_zero_length_clientid": "clients without an identifier get one",
    "auto_id_prefix": "identifiers that are made begin with auto-",
    "bind_interface": "name the address of the interface in the url",
    "capath": "put the certificates of the directory into one file, for client_ca",
    "ciphers_tls1.3": "TLS 1.3 has OpenSSL's default",
    "clientid_prefixes": "rules on topics of acl_file can name {client_id}",
    "disable_client_cert_date_checks": "certificates that have ended are refused",
    "http_dir": "web pages want a web server",
    "log_facility": "journald and syslog take standard error",
    "log_timestamp_format": "the time is as in 2026-01-31 12:00:00+01:00",
    "socket_domain": "name an address of that kind in the url",
    "tls_engine": "keys are files",
    "tls_engine_kpass_sha1": "keys are files",
    "tls_keyform": "keys are files",
    "upgrade_outgoing_qos": "the QoS of a message is never raised",
    "use_username_as_clientid": "a session belongs to one user all the same",
}

_LOG_LEVELS: Final = (("debug", "debug"), ("all", "debug"), ("information", "info"), ("notice", "info"))
_EXPIRY: Final = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}


@dataclass
class Translation:
    """What the file of curier has, and what is said of lines: ``notes`` of any, ``left_out`` of listeners and
    bridges that would have been more open than before.
    """

    top: dict[str, object] = field(default_factory=dict)
    limits: dict[str, object] = field(default_factory=dict)
    doors: list[Door] = field(default_factory=list)
    bridges: list[Bridge] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def note(self, line: Line, why: str) -> None:
        """Say of a line what became of it."""
        self.notes.append(f"{line.place}: {line.name}: {why}")


def translate(lines: Sequence[Line]) -> Translation:
    """The whole of it. Raises ``ConfigError`` for what Mosquitto refuses, too."""
    made = Translation()
    made.bridges, own = bridges_of(lines, made.note, made.left_out)
    rest = doors_of(own, made.top, made.notes, made.left_out, made.doors)
    for line in rest:
        _translate(line, made)
    if "acl_file" in made.top and "password_file" not in made.top:
        made.notes.append(
            "acl_file: there is no password_file, so nobody checks that clients are who they say"
        )
    _storage(rest, made)
    _log(rest, made)
    return made


def _translate(line: Line, made: Translation) -> None:
    """A line that belongs to the broker as a whole."""
    name = line.name
    if name in SAME and name in FLAGS:
        made.limits[SAME[name]] = line.is_true
    elif name in SAME:
        if line.amount > 0 or name in _ZERO_COUNTS:
            made.limits[SAME[name]] = line.amount
        else:
            made.note(line, f"that means no limit; {SAME[name]} is left at its default")
    elif name == "message_size_limit":
        if line.amount:
            made.limits["max_packet_size"] = line.amount + 65_536
            made.note(line, "max_packet_size counts topic and Properties, too: 64 KiB more")
    elif name == "persistent_client_expiration":
        found = re.fullmatch(r"([0-9]+)([hdwmy])", line.value)
        if found is None:
            raise line.wrong(f"expected a time such as 14d, got {line.value!r}")
        made.limits["session_expiry_maximum"] = int(found[1]) * _EXPIRY[found[2]]
    elif name in NOT_NEEDED:
        made.note(line, f"not needed: {NOT_NEEDED[name]}")
    elif name in NONE:
        made.note(line, f"has no counterpart: {NONE[name]}")
    elif is_dynamic_security(line) or (
        name == "plugin_opt_config_file" and line.value == made.top.get("acl_file")
    ):
        pass  # it is password_file and acl_file
    elif name.startswith(("plugin", "auth_", "global_plugin")):
        made.note(
            line, "has no counterpart: plugins of Mosquitto cannot be loaded; hooks are in docs/embedding.md"
        )
    elif name in OWN:
        made.note(line, "belongs to no listener where it stands, for Mosquitto either")
    elif not name.startswith(("persistence", "log_", "connection_messages")):
        made.note(line, "has no counterpart")


def _last(lines: Sequence[Line], name: str) -> Line | None:
    return next((line for line in reversed(lines) if line.name == name), None)


def _storage(lines: Sequence[Line], made: Translation) -> None:
    persistence, location = _last(lines, "persistence"), _last(lines, "persistence_location")
    if persistence is None or not persistence.is_true:
        made.top["memory"] = True
        if location is not None:
            made.note(location, "persistence is off: everything is kept in memory")
        return
    if location is not None:
        made.top["data"] = str(Path(location.value) / "curier")
        made.note(location, "a directory within it, since the files are others; what is in them stays behind")


def _log(lines: Sequence[Line], made: Translation) -> None:
    for line in lines:
        if line.name == "log_dest":
            kind, _, value = line.value.partition(" ")
            if kind == "file":
                made.top["log_file"] = value.strip(" ")
            elif kind not in ("stderr", "stdout"):
                made.note(line, "has no counterpart: the log goes to standard error or to a file")
        elif line.name == "connection_messages" and not line.is_true:
            made.top["log_levels"] = (("connect", "warning"),)
    kinds = {word for line in lines if line.name == "log_type" for word in line.value.split(" ")}
    if kinds:
        found = [level for kind, level in _LOG_LEVELS if kind in kinds]
        fewest = "warning" if "warning" in kinds else "error"
        made.top["log_level"] = found[0] if found else fewest


def written(made: Translation, source: Path) -> str:
    """The file of curier."""
    said = [f"# Translated from {source} by curier config from-mosquitto."]
    if made.left_out:
        said += [
            "#",
            "# These listeners and bridges are left out, since they would be more open than they were:",
        ]
        said += [f"#   {one}" for one in made.left_out]
    if made.notes:
        said += ["#", "# What became of lines that are not simply said in other words:"]
        said += [f"#   {one}" for one in made.notes]
    if _has_relative_paths(made):
        said += ["#", "# Some paths are relative: here to this file, for Mosquitto to where it was started."]
    said += ["", *_pairs(made.top, {name: one.kind for name, one in TOP.items()})]
    for door in made.doors:
        said += [
            "",
            "[[listener]]",
            *_pairs(door.settings, {name: one.kind for name, one in LISTENER.items()}),
        ]
    for bridge in made.bridges:
        said += [
            "",
            "[[bridge]]",
            *(f"{name} = {TEXT.written(one)}" for name, one in bridge.settings.items()),
        ]
    if made.limits:
        said += ["", "[limits]", *_pairs(made.limits, {name: one.kind for name, one in LIMIT.items()})]
    return "\n".join(said) + "\n"


def _has_relative_paths(made: Translation) -> bool:
    """Whether there are paths that would be relative to another directory than they were."""
    of_all = [
        made.top[name] for name in ("password_file", "acl_file", "data", "log_file") if name in made.top
    ]
    of_doors = [
        value for door in made.doors for name, value in door.settings.items() if LISTENER[name].kind is FILE
    ]
    of_bridges = [
        value
        for bridge in made.bridges
        for name, value in bridge.settings.items()
        if name in ("ca_file", "certificate", "key")
    ]
    return not all(Path(str(one)).is_absolute() for one in (*of_all, *of_doors, *of_bridges))


def _pairs(settings: dict[str, object], kinds: dict[str, Kind]) -> list[str]:
    return [f"{name} = {kinds[name].written(settings[name])}" for name in kinds if name in settings]
