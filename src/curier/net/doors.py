"""A listener as those see it who accept clients there: what lies between its sockets and MQTT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from curier.net.layer import Layer
from curier.net.layers import Layers
from curier.net.tls import Tls

if TYPE_CHECKING:
    from curier.net.certificates import Certificates  # which needs packages that TLS alone has need of


class Door:
    """``name`` is its URL, for people. ``certificates`` are those of TLS, if it is spoken there."""

    def __init__(self, name: str, certificates: Certificates | None = None) -> None:
        self.name: Final = name
        self.certificates: Final = certificates

    def open(self) -> Layers | None:
        """The layers of a new connection; None where the socket carries MQTT."""
        layers: list[Layer] = []
        if self.certificates is not None:
            layers.append(
                Tls(self.certificates.context(), self.certificates.refusal, self.certificates.explain)
            )
        return Layers(layers) if layers else None
