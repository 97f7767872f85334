"""The records of a cluster as bytes: a byte for the format, one for the kind, and MessagePack of the fields.

The fields are those of the classes that the format has, in their order, without names
(``curier.cluster.formats``). A node that meets a format it does not know says so and stops, since what it
cannot read it would lose.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from itertools import starmap
from operator import attrgetter
from typing import Any, Final

from curier.cluster.formats import FIRST, NEWEST, since_of
from curier.cluster.records import (
    Boot,
    Frame,
    Lease,
    Mark,
    Message,
    Passed,
    Piece,
    Seal,
    SessionRecord,
    Snapshot,
    Value,
)
from curier.errors import MqttError
from curier.frozen import dataclass

try:
    from msgspec import MsgspecError, convert, msgpack
except ImportError as missing:
    raise ImportError("a cluster needs msgspec: pip install 'curier[cluster]'", name="msgspec") from missing

Sinces = Mapping[tuple[type, str], int]
"""The first format that has a field of a class, where that is another than the class says."""


class WireError(MqttError):
    """Bytes on the bus that this curier cannot read; the message says what they are and what to do."""


@dataclass(frozen=True, slots=True)
class Direct:
    """Messages of QoS 0 for the other nodes, which are not kept."""

    writer: Boot
    passed: tuple[Passed, ...]


@dataclass(frozen=True, slots=True)
class Handed:
    """Messages of QoS 0, each for one member of the Shared Subscription that it names."""

    writer: Boot
    messages: tuple[Message, ...]
    members: tuple[str, ...]


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


Sent = Value | Direct | Handed | Wish | Parted

Convert = Callable[[Any], Any]
Has = Callable[[type, "dataclasses.Field[Any]"], bool]
"""Has the format that field of that class?"""


class Shape(typing.NamedTuple):
    """How values of a type are said in plain tuples; None: as they are."""

    plain: Any
    flatten: Convert | None
    build: Convert | None
    maker: type | None = None  # of a dataclass all of whose fields are plain


def _of_class(cls: type, has: Has) -> Shape:
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    names = [field.name for field in fields if has(cls, field)]
    assert names == [field.name for field in fields[: len(names)]], "what is new comes last"
    shapes = [_of(hints[name], has) for name in names]
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


def _of_either(hint: Any, has: Has) -> Shape:
    """A type, or None."""
    one, nothing = sorted(typing.get_args(hint), key=lambda arm: arm is type(None))
    shape = _of(one, has)
    assert nothing is type(None)
    flatten, build = shape.flatten, shape.build
    if flatten is None or build is None:
        return Shape(shape.plain | None, None, None)
    return Shape(
        shape.plain | None,
        lambda value: None if value is None else flatten(value),
        lambda value: None if value is None else build(value),
    )


def _of(hint: Any, has: Has) -> Shape:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _of_class(hint, has)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return _of_many(_of(arguments[0], has))
    if origin in (types.UnionType, typing.Union):
        return _of_either(hint, has)
    return Shape(hint, None, None)  # numbers, texts, bytes, and tuples of those


class _Kind:
    """A kind of record in one format."""

    decode: Convert

    def __init__(self, number: int, cls: type, format: int, has: Has) -> None:
        shape = _of_class(cls, has)
        assert shape.flatten is not None
        assert shape.build is not None
        self.cls = cls
        self.head = bytes([format, number])
        self.flatten = shape.flatten
        self.build = shape.build
        self.decode = msgpack.Decoder(types.GenericAlias(tuple, (str, shape.plain))).decode


class _Leases(_Kind):
    """Those of all versions: fields that are not known are left out, and missing ones have their defaults."""

    def __init__(self, number: int, cls: type, format: int, has: Has) -> None:
        super().__init__(number, cls, format, has)
        self.plain = typing.get_args(_of_class(cls, has).plain)
        defaults = [field.default is not dataclasses.MISSING for field in dataclasses.fields(cls)]
        self.least = defaults.index(True)
        self.read = msgpack.Decoder(tuple[str, list[Any]]).decode
        self.decode = self._decode

    def _decode(self, data: memoryview) -> Any:
        name, fields = self.read(data)
        if len(fields) < self.least:
            raise TypeError(f"it has {len(fields)} fields")
        plain = self.plain[: len(fields)]
        return name, convert(tuple(fields[: len(plain)]), types.GenericAlias(tuple, plain))


CLASSES: Final[tuple[type, ...]] = (
    Frame,
    Seal,
    Lease,
    SessionRecord,
    Direct,
    Wish,
    Parted,
    Mark,
    Piece,
    Snapshot,
    Handed,
)
"""The kinds, by their numbers from 1 on."""

_SINCE: Final[Mapping[type, int]] = {}
"""The first format of kinds that not all have."""

_encode: Final = msgpack.Encoder().encode


class Forms:
    """What a version of curier reads and writes: the formats from ``FIRST`` to ``newest``."""

    def __init__(self, newest: int = NEWEST, sinces: Sinces | None = None) -> None:
        self.newest = newest
        given = sinces or {}
        self._kinds: dict[bytes, _Kind] = {}
        self._kind_of: dict[tuple[int, type], _Kind] = {}
        for format in range(FIRST, newest + 1):

            def has(cls: type, field: dataclasses.Field[Any], format: int = format) -> bool:
                return given.get((cls, field.name), since_of(field)) <= format

            for number, cls in enumerate(CLASSES, 1):
                if _SINCE.get(cls, FIRST) <= format:
                    kind = (_Leases if cls is Lease else _Kind)(number, cls, format, has)
                    self._kinds[kind.head] = self._kind_of[format, cls] = kind

    def encode(self, value: Sent, name: str = "", format: int = FIRST) -> bytes:
        """``name`` is the Client Identifier whose record it is, which stands nowhere else."""
        cls = type(value)
        kind = self._kind_of[FIRST if cls is Lease else format, cls]
        return kind.head + _encode((name, kind.flatten(value)))

    def decode(self, data: bytes) -> tuple[str, Sent]:
        """The name, and the value; ``data[0]`` is the format. Raises ``WireError``."""
        kind = self._kinds.get(data[:2])
        if kind is None:
            raise WireError(self._why_unknown(data))
        try:
            name, plain = kind.decode(memoryview(data)[2:])
            return name, kind.build(plain)
        except (MsgspecError, TypeError) as error:
            raise WireError(
                f"a record on the bus ({kind.cls.__name__}) cannot be read ({error}): it is damaged, "
                "or of another version of curier"
            ) from error

    def _why_unknown(self, data: bytes) -> str:
        if len(data) < 2:
            return f"what lies on the bus has {len(data)} bytes, which is nothing of curier's"
        if FIRST <= data[0] <= self.newest:
            return (
                f"a record of kind {data[1]} lies on the bus, which this curier does not know: "
                "run the same version on all nodes"
            )
        known = str(FIRST) if self.newest == FIRST else f"{FIRST} to {self.newest}"
        way_out = "run a newer curier here" if data[0] > self.newest else "an older curier has written it"
        return (
            f"a record of format {data[0]} lies on the bus, and this curier knows format {known}: "
            f"{way_out}, or give each cluster a name of its own"
        )


_THESE: Final = Forms()
encode: Final = _THESE.encode
decode: Final = _THESE.decode
