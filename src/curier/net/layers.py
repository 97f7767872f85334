"""The layers of one connection on each other, as the one thing that its wire talks to.

What goes down waits above TLS as long as the socket does not take what was encrypted before: so a slow client
costs its messages once, and they are counted. What comes up is given as soon as it has come.
"""

from __future__ import annotations

from typing import Final, final

from curier.net.layer import Layer, LayerError
from curier.net.tls import Tls

MOST_KEPT: Final = 16 * 1024
"""Bytes, that came while a step of a handshake was taken: the first packets of a hasty client."""

THIN_BYTES: Final = 3584
THIN_SHARE: Final = 16
"""A chunk of so many bytes or more, of which less than a sixteenth is for MQTT, is thin: pings, empty frames,
messages of TLS itself, each of which costs as much as many bytes do."""

WINDOW_BYTES: Final = 64 * 1024
"""So much is encrypted, or put together, before the socket is asked to take it."""


@final
class Layers:
    """What lies between one socket and one connection of MQTT: ``layers``, from the socket up."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers: list[Layer] = layers
        self.tls: Tls | None = None
        self.waiting: int = 0  # bytes that the socket has not been asked to take yet
        self.is_open: bool = False
        self.address: str = ""  # where the peer is, if a layer knows that
        self.certificate_name: str | None = None
        self.is_ended: bool = False  # the peer has closed one of them in order
        self.has_more: bool = False  # ``receive(b"")`` has something to give or to raise
        self.is_thin: bool = False  # what came last: not much should be received at once
        self.ping_interval: float = layers[-1].ping_interval
        self._opened: int = 0  # so many of them, from below, are open
        self._tls_at: int = -1  # of ``layers``
        self._plain: list[bytes] = []  # for TLS, or where there is none, for the socket
        self._at: int = 0  # where in the first of these to go on
        self._out: bytes = b""  # for the socket
        self._is_closing: bool = False
        self._code: int = 0
        for number, layer in enumerate(layers):
            if isinstance(layer, Tls):
                self.tls = layer
                self._tls_at = number

    # ---- from the socket ----

    def receive(self, data: bytes) -> bytes:
        """Bytes of the socket, or none, to see what there is without; returns those of MQTT.

        What the layers have to say to it goes to what is sent. Raises ``LayerError``: no more is received
        then.
        """
        if self.is_ended:
            return b""
        self.has_more = False
        has_room = not self.waiting
        size = len(data)
        if size >= THIN_BYTES:
            self.is_thin = True
        for number, layer in enumerate(self.layers):
            try:
                data = layer.receive(data)
            except LayerError:
                self._down(number, layer.answers())
                self.is_open = False
                raise
            if has_room or number <= self._tls_at:
                self._down(number, layer.answers())
            if layer.has_more:
                self.has_more = True
            if layer.is_ended:
                self.is_ended = True
            if number == self._opened:
                if not layer.is_open:
                    return b""
                self._opened += 1
                self._opens(number, layer)
        if size >= THIN_BYTES:
            self.is_thin = len(data) * THIN_SHARE < size
        return data

    def _opens(self, number: int, layer: Layer) -> None:
        """Layer ``number`` has opened, and may know more of the peer."""
        if layer.certificate_name is not None:
            self.certificate_name = layer.certificate_name
        address = layer.address
        if address and address != self.address:
            self.address = address
            for upper in self.layers[number + 1 :]:
                upper.moved(address)
        if self._opened == len(self.layers):
            self.is_open = True

    def midst(self) -> str:
        """What the peer has begun and not finished before MQTT could begin, in words; "": nothing."""
        return self.layers[self._opened].midst() if self._opened < len(self.layers) else ""

    # ---- handshakes of TLS, which are work for others ----

    @property
    def needs_work(self) -> bool:
        """Is there a step of a handshake to be taken, which nobody has taken on yet?"""
        return self.tls is not None and self.tls.needs_work and not self.tls.is_taken

    @property
    def is_busy(self) -> bool:
        """Is a step wanted, or being taken?"""
        return self.tls is not None and self.tls.needs_work

    @property
    def is_full(self) -> bool:
        """Is so much kept until that step is taken, that no more should be received?"""
        return self.tls is not None and self.tls.needs_work and self.tls.kept_bytes >= MOST_KEPT

    def taken(self) -> None:
        """Somebody will call ``work``, then ``worked``."""
        assert self.tls is not None
        self.tls.is_taken = True

    def work(self) -> None:
        """Take the step, in any thread."""
        assert self.tls is not None
        self.tls.work()

    def worked(self) -> None:
        """It is taken: ``receive(b"")`` goes on."""
        assert self.tls is not None
        self.tls.worked()

    # ---- to the socket ----

    def send(self, data: bytes) -> None:
        """Whole Control Packets. Where the layers are not open yet, nobody is there to read them."""
        if not self.is_open:
            return
        self._down(len(self.layers), data)

    def send_pieces(self, pieces: list[bytes]) -> None:
        """The same, where whole Control Packets lie in several pieces, which are kept as they are."""
        if not self.is_open:
            return
        for number in range(len(self.layers) - 1, self._tls_at, -1):
            pieces = self.layers[number].send_pieces(pieces)
        for piece in pieces:
            self._plain.append(piece)
            self.waiting += len(piece)

    def ping(self) -> int:
        """What keeps proxies from taking this connection for a dead one; returns how many bytes wait."""
        last = len(self.layers) - 1
        self._down(last, self.layers[last].ping())
        return self.waiting

    def _down(self, number: int, data: bytes) -> None:
        """What comes from layer ``number``, or from MQTT above all of them, waits to go through those below:
        TLS encrypts it when its time comes.
        """
        if not data:
            return
        if number <= self._tls_at:
            self._out += data
            self.waiting += len(data)
            return
        number -= 1
        if number == self._tls_at:
            self._plain.append(data)
            self.waiting += len(data)
            return
        pieces = [data]
        while number > self._tls_at:
            layer = self.layers[number]
            pieces = [below for piece in pieces for below in layer.send(piece)]
            number -= 1
        for piece in pieces:
            self._plain.append(piece)
            self.waiting += len(piece)

    def close(self, code: int) -> None:
        """Nothing more is sent: behind what waits, each layer's own last bytes go (``Layer.close``)."""
        if self._is_closing:
            return
        if self.is_open:
            self._ask()
            for number in range(len(self.layers) - 1, self._tls_at, -1):
                self._down(number, self.layers[number].close(code))
        self.is_open = False
        self._is_closing = True
        self._code = code

    def take(self) -> bytes:
        """The next bytes for the socket, b"" for none. Call it when those before are taken."""
        if not self._plain and not self._is_closing:
            self._ask()
        if self._out:
            data = self._out
            self._out = b""
            self.waiting -= len(data)
            return data
        tls = self.tls
        if not self._plain:
            if tls is None or not self._is_closing:
                return b""
            return tls.close(self._code)  # once; then there is nothing
        data = self._window()
        self.waiting -= len(data)
        if tls is None:
            return data
        records = tls.send(data)
        return records[0] if len(records) == 1 else b"".join(records)

    def _ask(self) -> None:
        """What layers above TLS have to say, such as pongs, is asked for when there is room for it: so a peer
        that does not read cannot make it pile up.
        """
        if self.tls is None or self.tls.is_open:
            for number in range(self._tls_at + 1, len(self.layers)):
                self._down(number, self.layers[number].answers())

    def _window(self) -> bytes:
        """What waits, no more than a window of it."""
        first = self._plain[0]
        if len(self._plain) == 1 and not self._at and len(first) <= WINDOW_BYTES:
            self._plain.clear()
            return first
        pieces: list[bytes] = []
        left = WINDOW_BYTES
        done = 0
        for piece in self._plain:
            size = len(piece) - self._at
            if size > left:
                pieces.append(piece[self._at : self._at + left])
                self._at += left
                break
            pieces.append(piece[self._at :] if self._at else piece)
            self._at = 0
            left -= size
            done += 1
            if not left:
                break
        del self._plain[:done]
        return b"".join(pieces)
