"""TLS as a layer: bytes in, bytes out, cut anywhere, without a network."""

from __future__ import annotations

import ssl

import pytest

from curier.net.layer import Layer, LayerError
from curier.net.layers import MOST_KEPT, WINDOW_BYTES, Layers
from curier.net.tls import BIO_BYTES, Tls
from tests.net.doors import authority, server_files


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server_files())
    return context


class Client:
    """The other end, and the layers between: what each of them sends is carried by hand."""

    def __init__(
        self,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        context: ssl.SSLContext | None = None,
        above: list[Layer] | None = None,
    ) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        trust = ssl.create_default_context(cafile=str(authority().file))
        trust.maximum_version = version
        self.object = trust.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.tls = Tls(context or server_context())
        self.layers = Layers([self.tls, *(above or [])])

    def step(self) -> None:
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            pass

    def shake(self) -> None:
        """The whole handshake."""
        for _ in range(3):
            self.step()
            assert self.layers.receive(self.outgoing.read()) == b""
            self.work()
            self.take()
        self.step()
        assert self.layers.is_open

    def work(self) -> None:
        """As the threads do."""
        if self.layers.needs_work:
            self.layers.taken()
            self.layers.work()
            self.layers.worked()
            assert self.layers.receive(b"") == b""

    def take(self) -> list[int]:
        """Carry to the client what there is for it; returns the sizes of the pieces."""
        sizes = []
        while data := self.layers.take():
            sizes.append(len(data))
            self.incoming.write(data)
        return sizes

    def say(self, *plain: bytes) -> bytes:
        """Encrypted, each in a record of its own."""
        for data in plain:
            self.object.write(data)
        return self.outgoing.read()

    def hear(self) -> list[bytes]:
        """The records that have come."""
        heard = []
        while True:
            try:
                heard.append(self.object.read(1 << 20))
            except ssl.SSLWantReadError:
                return heard
            if not heard[-1]:
                return heard


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_many_packets_go_out_in_one_record(version: ssl.TLSVersion) -> None:
    client = Client(version)
    client.shake()
    for number in range(100):
        client.layers.send(b"%03d" % number)
    assert client.layers.waiting == 300
    assert len(client.take()) == 1
    assert client.layers.waiting == 0
    assert client.hear() == [b"".join(b"%03d" % number for number in range(100))]


def test_much_goes_out_in_whole_records_a_window_at_a_time() -> None:
    client = Client()
    client.shake()
    data = bytes(range(256)) * 1000
    client.layers.send(data[:100_000])
    client.layers.send(data[100_000:])
    sizes = client.take()
    assert len(sizes) == -(-len(data) // WINDOW_BYTES)
    heard = client.hear()
    assert b"".join(heard) == data
    assert {len(record) for record in heard[:-1]} == {BIO_BYTES}


def test_what_the_socket_does_not_take_is_not_encrypted() -> None:
    client = Client()
    client.shake()
    client.layers.send(bytes(10 * WINDOW_BYTES))
    first = client.layers.take()
    assert len(first) < WINDOW_BYTES + 16 * 40
    assert client.layers.waiting == 9 * WINDOW_BYTES


@pytest.mark.parametrize("version", VERSIONS)
def test_ten_records_in_one_piece_come_up_at_once(version: ssl.TLSVersion) -> None:
    client = Client(version)
    client.shake()
    assert client.layers.receive(client.say(*[b"%d" % number for number in range(10)])) == b"0123456789"


@pytest.mark.parametrize("size", [1, 3, 1000, 16_000, 17_000, 100_000])
def test_records_may_be_cut_anywhere(size: int) -> None:
    client = Client()
    client.shake()
    data = bytes(range(256)) * (4 if size < 10 else 1000)
    sent = client.say(b"begin", data[:1000], data[1000:], b"end")
    got = b"".join(client.layers.receive(sent[at : at + size]) for at in range(0, len(sent), size))
    assert got == b"begin" + data + b"end"


def test_the_end_of_a_handshake_without_certificate_is_no_work_for_others() -> None:
    client = Client()
    client.step()
    client.layers.receive(client.outgoing.read())
    client.work()
    client.take()
    client.step()
    assert client.layers.receive(client.outgoing.read() + client.say(b"CONNECT")) == b"CONNECT"


def test_what_comes_with_the_end_of_the_handshake_is_given() -> None:
    context = server_context()
    context.load_verify_locations(authority().file)
    context.verify_mode = ssl.CERT_OPTIONAL
    client = Client(context=context)
    client.step()
    client.layers.receive(client.outgoing.read())
    client.work()
    client.take()
    client.step()
    hello = client.outgoing.read() + client.say(b"CONNECT")
    assert client.layers.receive(hello) == b""
    assert client.layers.needs_work
    client.layers.taken()
    assert client.layers.receive(client.say(b"PUBLISH")) == b""  # it is kept
    client.layers.work()
    client.layers.worked()
    assert client.layers.receive(b"") == b"CONNECTPUBLISH"


def test_what_is_kept_during_a_step_is_told() -> None:
    client = Client()
    client.step()
    client.layers.receive(client.outgoing.read())
    client.layers.taken()
    assert not client.layers.is_full
    client.layers.receive(bytes(MOST_KEPT))
    assert client.layers.is_full


def test_the_peer_closes_in_order_and_is_answered_once() -> None:
    client = Client()
    client.shake()
    last = client.say(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        client.object.unwrap()
    assert client.layers.receive(last + client.outgoing.read()) == b"last"
    assert client.layers.is_ended
    assert client.layers.receive(b"whatever") == b""
    client.layers.close(1000)
    client.layers.close(1000)
    assert len(client.take()) == 1
    client.object.unwrap()  # it has our close_notify, or this would raise


def test_the_end_goes_behind_what_waits() -> None:
    client = Client()
    client.shake()
    client.layers.send(bytes(3 * WINDOW_BYTES))
    client.layers.close(1000)
    client.layers.send(b"too late")
    client.take()
    heard = client.hear()
    assert (sum(map(len, heard)), heard[-1]) == (3 * WINDOW_BYTES, b"")


def test_a_broken_record_is_an_error_behind_what_came_before() -> None:
    client = Client()
    client.shake()
    sent = client.say(b"good") + bytearray(client.say(b"bad"))[:-1] + b"!"
    assert client.layers.receive(sent) == b"good"
    assert client.layers.has_more
    with pytest.raises(LayerError, match="bad record mac"):
        client.layers.receive(b"")
    client.layers.send(b"nobody can read this")
    client.layers.close(1000)
    assert len(client.take()) == 1  # the alert, and nothing behind it
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        client.object.read(1)


@pytest.mark.parametrize(
    ("first", "words", "answer"),
    [
        (
            b"GET / HTTP/1.1\r\n\r\n",
            "HTTP without TLS came to a port that speaks TLS; the client has to be told",
            b"HTTP/1.1 400 ",
        ),
        (b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00", "MQTT without TLS", b"\x20\x1a\x00\x83"),
        (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00", "MQTT without TLS", b""),
        (b"PROXY TCP4 1.2.3.4", "a PROXY header .* needs a listener with proxy_protocol", b""),
        (b"\r\n\r\n\0\r\nQUIT\n\x21", "a PROXY header", b""),
        (b"\x00", "is not TLS; it begins with 00", b""),
    ],
)
def test_what_is_not_tls_is_named(first: bytes, words: str, answer: bytes) -> None:
    layers = Layers([Tls(server_context())])
    with pytest.raises(LayerError, match=words):
        layers.receive(first)
    assert layers.take()[:13].startswith(answer)


def test_what_only_begins_like_tls_is_refused_with_an_alert() -> None:
    client = Client()
    client.layers.receive(b"\x16\x03\x01\x00\x05hello")
    client.layers.taken()
    client.layers.work()
    client.layers.worked()
    with pytest.raises(LayerError):
        client.layers.receive(b"")
    assert client.layers.take()[:1] == b"\x15"  # ContentType alert (RFC 8446 section 5.1)


class Shouting(Layer):
    """Makes everything larger; answers and closes with words of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = True
        self.said = b""

    def receive(self, data: bytes) -> bytes:
        self.said = b"!"
        return data.upper()

    def send(self, data: bytes) -> list[bytes]:
        return [b"<", data, b">"]

    def answers(self) -> bytes:
        said, self.said = self.said, b""
        return said

    def close(self, code: int) -> bytes:
        return b"(%d)" % code


def test_layers_above_are_encrypted_too() -> None:
    client = Client(above=[Shouting()])
    client.shake()
    client.take()
    client.hear()
    assert client.layers.receive(client.say(b"x")) == b"X"
    client.layers.send(b"data")
    client.layers.close(1001)
    client.take()
    assert client.hear() == [b"!<data>(1001)", b""]


def test_answers_of_a_peer_that_does_not_read_do_not_pile_up() -> None:
    layers = Layers([Shouting()])
    layers.receive(b"x")
    for _ in range(100):  # the socket takes nothing
        layers.receive(b"y")
    assert layers.waiting == 1
    assert [layers.take(), layers.take(), layers.take()] == [b"!", b"!", b""]
    layers.receive(b"z")
    layers.receive(b"z")
    layers.close(1000)
    assert [layers.take(), layers.take()] == [b"!!(1000)", b""]


def test_layers_without_tls_on_each_other() -> None:
    layers = Layers([Shouting(), Shouting()])
    assert layers.receive(b"x") == b"X"
    assert layers.take() == b"!<!>"
    layers.send(b"1")
    layers.close(1000)
    assert layers.take() == b"<<><1><>><(1000)>(1000)"
    assert layers.take() == b""


def test_packets_in_pieces_go_out_as_one_and_large_pieces_are_not_copied_at_once() -> None:
    client = Client(above=[Shouting()])
    client.shake()
    client.take()
    client.hear()
    large = bytes(3 * WINDOW_BYTES)
    client.layers.send_pieces([b"head", large, b"tail"])
    assert client.layers.waiting == len(large) + 10
    client.take()
    assert b"".join(client.hear()) == b"<head" + large + b"tail>"
    above_tls = Client().layers
    above_tls.is_open = True
    above_tls.send_pieces([b"head", large])
    assert above_tls._plain[1] is large
