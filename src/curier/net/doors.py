"""A listener as those see it who accept clients there: what lies between its sockets and MQTT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from curier.broker.core import BrokerCore
from curier.broker.entrances import Entrance
from curier.errors import ConfigError
from curier.listeners import Listener, levels_of
from curier.loglines import logger
from curier.net.accepting import UNIX, LocalPeer
from curier.net.layer import Layer
from curier.net.layers import Layers
from curier.net.proxy_protocol import ProxyHeader
from curier.places import lies_in, place_of

if TYPE_CHECKING:
    from curier.net.certificates import Certificates  # which needs packages that TLS alone has need of
    from curier.net.upgrade import Site

log = logger("curier.net")


def check_doors(listeners: Sequence[Listener]) -> None:
    """Raise ``ConfigError`` where these cannot be the listeners of one broker."""
    addresses = [listener.address for listener in listeners]
    for number, address in enumerate(addresses):
        if (address.port or address.carrier != "tcp") and address in addresses[:number]:
            raise ConfigError(f"{address} is to be listened on twice: leave one of them out")
    for listener in listeners:
        listener.check()
        _site_of(listener)
    levels_of(listeners)


def _site_of(listener: Listener) -> Site | None:
    """What a listener serves by WebSocket, if that is spoken there."""
    if not listener.address.is_web:
        return None
    from curier.net.upgrade import site_of

    return site_of(listener)


def entrance_of(listener: Listener, level: str) -> Entrance:
    """A listener as the core sees it, called ``level`` in topics."""
    return Entrance(
        listener.name,
        level,
        listener.max_connections,
        listener.max_packet_size,
        listener.mount.encode(),
        listener.max_connect_rate,
        listener.max_message_rate,
        listener.max_byte_rate,
    )


def entrances_of(listeners: Sequence[Listener]) -> list[Entrance]:
    """The listeners of a broker as the core sees them."""
    return [entrance_of(*found) for found in zip(listeners, levels_of(listeners), strict=True)]


class Door:
    """One socket of a listener. ``url`` is its own, as bound; ``entrance`` is the listener as the core sees
    it; ``certificates`` are those of TLS, where that is spoken. ``top`` makes what lies between MQTT and all
    other layers, if anything does.
    """

    def __init__(
        self,
        url: str,
        listener: Listener,
        entrance: Entrance,
        certificates: Certificates | None = None,
        top: Callable[[str], Layer] | None = None,
    ) -> None:
        self.url: Final = url
        self.entrance: Final = entrance
        self._listener: Final = listener
        self._certificates: Final = certificates
        self._top: Final = top
        self._site: Final = _site_of(listener)
        if self._site is not None:
            from curier.net.upgrade import prepare

            prepare()

    def place(self, address: str, who: LocalPeer | None) -> str:
        """Where this peer of a socket counts among those that have not logged in. Proxies count nowhere ("")
        until they have told for whom they connect, nor do programs behind a Unix socket.
        """
        listener = self._listener
        if listener.proxy_protocol or who is not None or address == UNIX:
            return ""
        if listener.trusted_proxies and lies_in(address, listener.trusted_proxies):
            return ""
        return place_of(address)

    def admits(
        self, core: BrokerCore, address: str, who: LocalPeer | None, place: str, now: float, coming: int = 0
    ) -> bool:
        """May this peer of a socket connect here, while ``coming`` are about to? If not, the log says why.

        Where there is a PROXY header before all else, only proxies may; at a Unix socket, whoever its mode
        lets in. Nobody may where there are too many, most of whom have said nothing yet.
        """
        where = self.entrance.name or self.url
        crowd = core.why_crowded(self.entrance, now, place, coming)
        if crowd:
            log.warning("%s at %s is closed at once: %s", address, where, crowd)
            return False
        proxies = self._listener.proxy_protocol
        if not proxies or who is not None or address == UNIX or lies_in(address, proxies):
            return True
        log.warning(
            "%s at %s: only proxies may connect here (proxy_protocol), and %s is none of them",
            address,
            where,
            place_of(address),
        )
        return False

    def open(self, address: str) -> Layers | None:
        """The layers of a new connection; None where the socket carries MQTT."""
        listener = self._listener
        layers: list[Layer] = []
        if listener.proxy_protocol:
            layers.append(ProxyHeader(address, listener.proxy_certificates))
        certificates = self._certificates
        if certificates is not None:
            layers.append(certificates.layer())
        if self._site is not None:
            from curier.net.web import WebSocket  # and a package that others have no need of

            layers.append(WebSocket(self._site, address))
        if self._top is not None:
            layers.append(self._top(address))
        return Layers(layers) if layers else None
