"""The lines of a ``mosquitto.conf``, by the rules of Mosquitto (mosquitto.conf(5), and what 2.0 does).

A line is a name, one blank, a value. ``#`` makes a comment in the first column only. What follows a flag or a
number is not looked at; other values go to the end of the line, quotes and ``#`` included.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from curier.errors import ConfigError

FLAGS: Final = frozenset(
    """allow_anonymous allow_duplicate_messages allow_zero_length_clientid autosave_on_changes
    bridge_attempt_unsubscribe bridge_insecure bridge_outgoing_retain bridge_require_ocsp
    bridge_tls_use_os_certs
    check_retain_source cleansession connection_messages disable_client_cert_date_checks
    enable_control_api enable_proxy_protocol_v2_require_tls log_timestamp notifications
    notifications_local_only per_listener_settings persistence queue_qos0_messages
    require_certificate retain_available round_robin set_tcp_nodelay try_private
    upgrade_outgoing_qos use_identity_as_username use_subject_as_username use_username_as_clientid""".split()
)
NUMBERS: Final = frozenset(
    """autosave_interval bridge_max_packet_size bridge_max_topic_alias bridge_receive_maximum
    bridge_tcp_user_timeout
    enable_proxy_protocol global_max_clients global_max_connections idle_timeout keepalive_interval
    max_connections max_inflight_bytes max_inflight_messages max_keepalive max_packet_size max_qos
    max_queued_bytes max_queued_messages max_topic_alias max_topic_alias_broker memory_limit
    message_size_limit packet_max_auth packet_max_connect packet_max_simple packet_max_sub
    packet_max_un port retry_interval store_clean_interval sys_interval threshold
    websockets_headers_size websockets_log_level""".split()
)
TEXTS: Final = frozenset(
    """accept_protocol_versions acl_file address addresses auth_plugin auth_plugin_deny_special_chars
    auto_id_prefix bind_address bind_interface bridge_alpn bridge_bind_address bridge_cafile
    bridge_capath bridge_certfile bridge_identity bridge_keyfile bridge_protocol_version bridge_psk
    bridge_ciphers bridge_ciphers_tls1.3 bridge_reload_type bridge_session_expiry_interval
    bridge_tcp_keepalive bridge_tls_version cafile capath certfile
    ciphers ciphers_tls1.3 clientid clientid_prefixes connection crlfile dhparamfile global_plugin
    http_api_port http_dir include_dir keyfile listener listener_allow_anonymous
    listener_auto_id_prefix local_cleansession local_clientid local_password local_username log_dest
    log_facility log_timestamp_format log_type mount_point notification_topic password password_file
    persistence_file persistence_location persistent_client_expiration pid_file plugin plugin_load
    plugin_use protocol psk_file psk_hint remote_clientid remote_password remote_username
    restart_timeout socket_domain start_type tls_engine tls_engine_kpass_sha1 tls_keyform
    tls_version topic user username websockets_origin""".split()
)
MANY: Final = frozenset(
    """address addresses auth_plugin connection global_plugin include_dir listener log_dest log_type
    plugin plugin_load plugin_use topic websockets_origin""".split()
)
"""Texts that may stand there more than once; numbers and flags may, and the last counts."""

_PREFIXES: Final = ("auth_opt_", "plugin_opt_")
_KNOWN: Final = FLAGS | NUMBERS | TEXTS


class Line(NamedTuple):
    """One setting, and where it stands."""

    path: Path
    number: int
    name: str
    value: str

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.path}, line {self.number}"

    @property
    def is_true(self) -> bool:
        """Of a flag."""
        return self.value in ("true", "1")

    @property
    def amount(self) -> int:
        """Of a number."""
        return int(self.value)

    def wrong(self, why: str) -> ConfigError:
        """The error for it."""
        return ConfigError(f"{self.place}: {self.name}: {why}")


def read(path: Path) -> list[Line]:
    """All lines, with those of ``include_dir`` in its place. Raises ``ConfigError`` for what Mosquitto
    refuses, too.
    """
    return [*_lines(path, is_included=False)]


def _lines(path: Path, is_included: bool) -> Iterator[Line]:
    for number, text in enumerate(_text(path).split("\n"), 1):
        line = _line(path, number, text.removesuffix("\r"))
        if line is None:
            continue
        if line.name != "include_dir":
            yield line
        elif is_included:
            raise line.wrong("a file that is included cannot include others")
        else:
            for name in _included(line):
                yield from _lines(name, is_included=True)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path}, line 1: there is a byte order mark; save it as UTF-8 without one")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: expected UTF-8 text") from None


def _line(path: Path, number: int, text: str) -> Line | None:
    if not text.strip(" ") or text.startswith("#"):
        return None
    name, _, rest = text.lstrip(" ").partition(" ")
    line = Line(path, number, name, rest.strip(" "))
    if "\t" in name or name.startswith("#"):
        shown = "a tab" if "\t" in name else "a comment behind blanks"
        raise ConfigError(
            f"{line.place}: {shown}, which Mosquitto does not take either: names and values are parted by "
            "blanks, and comments begin in the first column"
        )
    if name not in _KNOWN and not name.startswith(_PREFIXES):
        near = difflib.get_close_matches(name, _KNOWN, n=1)
        raise ConfigError(
            f"{line.place}: Mosquitto has no setting {name!r}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    if not line.value and name != "connection":
        raise line.wrong("there is no value")
    if name in FLAGS or name in NUMBERS:
        line = line._replace(value=line.value.split(" ")[0])
    if name in FLAGS and line.value not in ("true", "false", "1", "0"):
        raise line.wrong(f"expected true or false, got {line.value!r}")
    if name in NUMBERS and not line.value.removeprefix("-").isdecimal():
        raise line.wrong(f"expected a number, got {line.value!r}")
    return line


def _included(line: Line) -> list[Path]:
    """The files of a directory that Mosquitto reads, in its order: by letters, large or small."""
    folder = Path(line.value)
    try:
        found = [one for one in folder.iterdir() if one.name.endswith(".conf")]
    except OSError as error:
        raise line.wrong(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(found, key=lambda one: (one.name.lower(), one.name))
