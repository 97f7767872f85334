"""The settings of a bridge, as those of its two clients."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from curier.bridge.hops import PROPERTY
from curier.bridge.settings import FOREVER, BridgeSettings, Peer
from curier.client.session import Session
from curier.client.settings import ClientSettings, OnRefused, Reconnect
from curier.client.urls import parse_server_url
from curier.codec.constants import MQTT_50
from curier.types import Message, QoS, Will

INSIDE: Final = "unix:///inside"
"""What the broker that a bridge belongs to is called, where a URL is asked for."""

REFUSED_LONGER: Final = 10.0
"""How much longer than after a loss a bridge waits that is refused."""

_TRY_AGAIN: Final[dict[int, OnRefused]] = dict.fromkeys(range(0x80, 0x100), "retry")
"""A bridge goes on trying, whatever is said: there is nobody at hand to start it again."""

Link = Callable[[], Awaitable[socket.socket]]


def user_of(settings: BridgeSettings) -> str:
    """Who it is at the broker it belongs to."""
    return settings.user if settings.user is not None else own_name(settings)


def own_name(settings: BridgeSettings) -> str:
    """Who it is there where nobody says otherwise."""
    return f"bridge {settings.name}"


def client_id_of(name: str) -> str:
    """The Client Identifier of the bridge of this name at the broker it belongs to."""
    return f"bridge.{name}"


def local_settings(
    settings: BridgeSettings, link: Link | None, directory: Path | None, highest_qos: int
) -> ClientSettings:
    """Of the client here. ``highest_qos`` is that of what it publishes."""
    if settings.local is not None:
        peer = settings.local
        return _settings(settings, peer, peer.urls[:1], directory, highest_qos, "local")
    peer = Peer(
        urls=(INSIDE,), client_id=client_id_of(settings.name), username=user_of(settings), version=MQTT_50
    )
    made = _settings(settings, peer, peer.urls, directory, highest_qos, "local")
    return replace(made, open_socket=link, keep_alive=0, will=None)


def remote_settings(
    settings: BridgeSettings,
    url: str,
    directory: Path | None,
    highest_qos: int,
    bridge_bit: bool,
    local_id: str,
) -> ClientSettings:
    """Of the client there, at one of its servers. ``local_id``: where it comes from."""
    made = _settings(settings, settings.remote, (url,), directory, highest_qos, "remote")
    made = replace(made, user_properties=((PROPERTY, local_id),))
    if not bridge_bit:
        made = replace(made, bridge=False)
    if len(settings.remote.urls) > 1 or settings.start == "once":
        return replace(made, reconnect=None, retry_first_connect=False)  # the next server's turn, or the end
    return made


def _settings(
    settings: BridgeSettings,
    peer: Peer,
    urls: tuple[str, ...],
    directory: Path | None,
    highest_qos: int,
    side: str,
) -> ClientSettings:
    own_id = f"{socket.gethostname()}.{settings.name}"  # both sides may be one broker
    client_id = peer.client_id or (f"{own_id}.local" if side == "local" else own_id)
    session = None
    if highest_qos == 2 and directory is not None:
        where = f"{parse_server_url(urls[0])} {client_id}"  # whose session it is, whatever the password
        digest = hashlib.sha256(where.encode()).hexdigest()[:12]
        session = Session.disk(directory / f"{side}-{digest}")
    told = settings.notifications == "both" or (settings.notifications == "local" and side == "local")
    window = settings.window
    return ClientSettings(
        urls[0],
        client_id=client_id,
        username=peer.username,
        password=peer.password,
        version=peer.version,
        # Packet Identifiers of QoS 2 that nobody remembers would be mistaken for others (see ``end``).
        clean_start=peer.clean_start or (highest_qos == 2 and session is None),
        session_expiry=0 if peer.clean_start and peer.session_expiry == FOREVER else peer.session_expiry,
        keep_alive=peer.keep_alive,
        will=Will(state_message(settings, False)) if told else None,
        session=session,
        tls=peer.tls,
        proxy=peer.proxy,
        local_address=peer.local_address,
        websocket_headers=peer.websocket_headers,
        connect_timeout=peer.connect_timeout,
        retry_first_connect=True,
        reconnect=backoff(settings),
        on_refused=_TRY_AGAIN,
        max_inflight=window,
        receive_maximum=window,
        maximum_packet_size=peer.max_packet_size,
        bridge=peer.bridge_bit,
    )


def backoff(settings: BridgeSettings) -> Reconnect:
    """How long it waits before it tries again."""
    first, longest = settings.first_wait, settings.longest_wait
    return Reconnect(
        first,
        longest,
        first_refused=min(REFUSED_LONGER * first, longest),
        longest_refused=longest,
    )


def state_message(settings: BridgeSettings, is_connected: bool) -> Message:
    """What it tells of itself, as Mosquitto's bridges do."""
    return Message(settings.state_topic, b"1" if is_connected else b"0", QoS.AT_LEAST_ONCE, True)
