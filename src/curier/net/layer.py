"""What may lie between a socket and MQTT: the PROXY protocol's header, TLS, WebSocket. Bytes in, bytes out.

    socket -> Layer -> Layer -> MQTT's connection

A layer knows no socket, no loop and no clock, so that each is tested with bytes alone, and both kinds of
wires (``reactor``, ``transports``) put them on each other as they like.
"""

from __future__ import annotations

from mypy_extensions import mypyc_attr


class LayerError(Exception):
    """The peer broke a rule of a layer, or is refused there: the connection ends. The text says why, to
    people; what the peer is to be told lies in the layer's ``answers``.
    """


class Visit(LayerError):
    """A browser's visit, or a probe's: answered, as nothing that anybody has to mend."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Layer:
    """One of them, the server's side of one connection.

    The owner calls, in any order and whenever it likes: ``receive`` with what came from below, ``send`` with
    what goes down, ``close`` once. After each call, whether or not it raised, it takes ``answers``.
    """

    def __init__(self) -> None:
        self.is_open: bool = False
        """Bytes can be sent. Until then, ``send`` is not called."""
        # What a layer knows of the peer, as soon as it is open:
        self.address: str = ""
        """Where it is, if the layer knows that better than the socket."""
        self.certificate_name: str | None = None
        """The name in its certificate, which has been verified, if that is all the layer has of it."""
        self.is_ended: bool = False
        """The peer has closed this layer in order: nothing more comes out of ``receive``."""
        self.has_more: bool = False
        """``receive(b"")`` has something to give, or to raise, though nothing new has come: the owner calls
        it as soon as what came before is worked on. A layer that keeps an error for later sets this."""

        self.ping_interval: float = 0.0
        """Seconds, after which the owner may call ``ping`` again; 0: not at all."""

    def moved(self, address: str) -> None:
        """A layer below has learned where the peer is."""

    def midst(self) -> str:
        """What the peer has begun, and has to finish for the layer to open, in words; "": nothing."""
        return ""

    def receive(self, data: bytes) -> bytes:
        """Bytes from below; returns those for above, which may be none. ``data`` may be cut anywhere, and
        may be empty: then whatever can be given without new bytes is given.

        Raises ``LayerError``; then no call but ``answers`` follows. What had come before is given first: a
        layer keeps its error for the next call where it has bytes to give.
        """
        raise TypeError("a Layer receives")

    def send(self, data: bytes) -> list[bytes]:
        """Bytes from above, whole Control Packets; returns what goes down, in order."""
        raise TypeError("a Layer sends")

    def send_pieces(self, pieces: list[bytes]) -> list[bytes]:
        """The same, for whole Control Packets that lie in several pieces, some of them large."""
        return self.send(b"".join(pieces))

    def answers(self) -> bytes:
        """What the layer itself has to say to its peer since it was last asked: handshakes, pongs, alerts."""
        raise TypeError("a Layer answers")

    def ping(self) -> bytes:
        """Something to be sent that keeps proxies from taking this connection for a dead one."""
        return b""

    def close(self, code: int) -> bytes:
        """The owner has sent its last; returns the layer's own last bytes. ``code`` is why, as a close code
        of WebSocket (RFC 6455 section 7.4.1); what has no such thing does not look at it.
        """
        raise TypeError("a Layer closes")
