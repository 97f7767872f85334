"""The records of a cluster as bytes: a byte for the format, one for the kind, and MessagePack of the fields.

The fields are those of the classes, in their order, without names; so a class that changes is another
format. Nodes of two formats cannot share a bus: one that meets a format it does not know says so and stops,
since what it cannot read it would lose.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from itertools import starmap
from operator import attrgetter
from typing import Any, Final

from curier.cluster.records import Boot, Frame, Lease, Message, Seal, SessionRecord, Value
from curier.errors import MqttError
from curier.frozen import dataclass

try:
    from msgspec import MsgspecError, msgpack
except ImportError as missing:
    raise ImportError("a cluster needs msgspec: pip install 'curier[cluster]'", name="msgspec") from missing

FORMAT: Final = 1


class WireError(MqttError):
    """Bytes on the bus that this curier cannot read; the message says what they are and what to do."""


@dataclass(frozen=True, slots=True)
class Direct:
    """Messages of QoS 0 for the other nodes, which are not kept."""

    writer: Boot
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """``AskRelease``: the answer goes to ``asker``, a subject."""

    token: int
    asker: str
    session: str


@dataclass(frozen=True, slots=True)
class Parted:
    """A record of a session that lies in ``count`` parts, whose subjects have ``nonce`` in them."""

    nonce: str
    count: int


Sent = Value | Direct | Wish | Parted

Convert = Callable[[Any], Any]


class Shape(typing.NamedTuple):
    """How values of a type are said in plain tuples; None: as they are."""

    plain: Any
    flatten: Convert | None
    build: Convert | None
    maker: type | None = None  # of a dataclass all of whose fields are plain


def _of_class(cls: type) -> Shape:
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    shapes = [_of(hints[name]) for name in names]
    plain: Any = types.GenericAlias(tuple, tuple([shape.plain for shape in shapes]))
    take: Convert = attrgetter(*names)
    if len(names) == 1:
        taken = take
        take = lambda value: (taken(value),)  # noqa: E731
    if all(shape.flatten is None for shape in shapes):
        return Shape(plain, take, lambda fields: cls(*fields), cls)
    flattens = [(at, shape.flatten) for at, shape in enumerate(shapes) if shape.flatten is not None]
    builds = [(at, shape.build) for at, shape in enumerate(shapes) if shape.build is not None]

    def flatten(value: Any) -> list[Any]:
        fields = list(take(value))
        for at, convert in flattens:
            fields[at] = convert(fields[at])
        return fields

    def build(value: Any) -> Any:
        fields = list(value)
        for at, convert in builds:
            fields[at] = convert(fields[at])
        return cls(*fields)

    return Shape(plain, flatten, build)


def _of_many(shape: Shape) -> Shape:
    plain: Any = types.GenericAlias(tuple, (shape.plain, ...))
    flatten, build, maker = shape.flatten, shape.build, shape.maker
    if flatten is None or build is None:
        return Shape(plain, None, None)
    if maker is not None:  # the messages of a frame, which are most of what is ever read
        return Shape(plain, lambda many: tuple(map(flatten, many)), lambda many: tuple(starmap(maker, many)))
    return Shape(plain, lambda many: tuple(map(flatten, many)), lambda many: tuple(map(build, many)))


def _of_either(hint: Any) -> Shape:
    """A type, or None."""
    one, nothing = sorted(typing.get_args(hint), key=lambda arm: arm is type(None))
    shape = _of(one)
    assert nothing is type(None)
    flatten, build = shape.flatten, shape.build
    if flatten is None or build is None:
        return Shape(shape.plain | None, None, None)
    return Shape(
        shape.plain | None,
        lambda value: None if value is None else flatten(value),
        lambda value: None if value is None else build(value),
    )


def _of(hint: Any) -> Shape:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _of_class(hint)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return _of_many(_of(arguments[0]))
    if origin in (types.UnionType, typing.Union):
        return _of_either(hint)
    return Shape(hint, None, None)  # numbers, texts, bytes, and tuples of those


class _Kind:
    def __init__(self, cls: type) -> None:
        shape = _of_class(cls)
        assert shape.flatten is not None
        assert shape.build is not None
        self.cls = cls
        self.flatten = shape.flatten
        self.build = shape.build
        self.decode = msgpack.Decoder(types.GenericAlias(tuple, (str, shape.plain))).decode


_KINDS: Final = {
    number: _Kind(cls)
    for number, cls in enumerate((Frame, Seal, Lease, SessionRecord, Direct, Wish, Parted), 1)
}
_NUMBERS: Final = {kind.cls: (bytes([FORMAT, number]), kind) for number, kind in _KINDS.items()}
_encode: Final = msgpack.Encoder().encode


def encode(value: Sent, name: str = "") -> bytes:
    """``name`` is the Client Identifier whose record it is, which stands nowhere else."""
    head, kind = _NUMBERS[type(value)]
    return head + _encode((name, kind.flatten(value)))


def decode(data: bytes) -> tuple[str, Sent]:
    """The name, and the value. Raises ``WireError``."""
    if len(data) < 2:
        raise WireError(f"what lies on the bus has {len(data)} bytes, which is nothing of curier's")
    if data[0] != FORMAT:
        raise WireError(
            f"a record of format {data[0]} lies on the bus, and this curier knows format {FORMAT}: "
            "run the same version on all nodes, or give each cluster a name of its own"
        )
    kind = _KINDS.get(data[1])
    if kind is None:
        raise WireError(
            f"a record of kind {data[1]} lies on the bus, which this curier does not know: "
            "run the same version on all nodes"
        )
    try:
        name, plain = kind.decode(memoryview(data)[2:])
    except MsgspecError as error:
        raise WireError(
            f"a record on the bus ({kind.cls.__name__}) cannot be read ({error}): it is damaged, "
            "or of another version of curier"
        ) from error
    return name, kind.build(plain)
