"""Payloads as people read and write them: text, JSON, hex, base64, CBOR, MessagePack.

``decode`` is for what comes, ``encode`` for what goes. The libraries for CBOR and MessagePack are imported
when they are asked for; what to install when they are missing is told before anything is connected.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from curier.errors import ConfigError

Decode = Callable[[bytes], object]
"""From a payload to a ``str`` for text, or else to what JSON can say. Raises ``BadPayload``."""

Encode = Callable[[str], bytes]
"""From what a person writes to a payload. Raises ``BadPayload``."""

KINDS: Final = ("text", "json", "hex", "base64", "cbor", "msgpack")

_PACKAGES: Final = {"cbor": "cbor2", "msgpack": "msgpack"}


class BadPayload(ValueError):
    """A payload that is not what it should be; the message says why, in a part of a line."""


class Pairs(dict[str, object]):
    """An object of JSON in which a key may stand more than once, as User Properties may."""

    def __init__(self, pairs: Iterable[tuple[str, object]]) -> None:
        self.pairs = list(pairs)
        super().__init__(self.pairs)

    def items(self) -> Any:
        """All of them, in order: this is what ``json`` writes."""
        return self.pairs


def decoder(kind: str) -> Decode:
    """What reads payloads of this kind. Raises ``ConfigError`` where a package is missing."""
    if kind == "cbor":
        return _guarded("CBOR", _cbor_loads(_package(kind)))
    if kind == "msgpack":
        module = _package(kind)
        return _guarded("MessagePack", lambda data: module.unpackb(data, strict_map_key=False, timestamp=3))
    return {"text": _text, "json": _guarded("JSON", _json_loads), "hex": bytes.hex, "base64": _base64}[kind]


def encoder(kind: str) -> Encode:
    """What writes payloads of this kind; JSON is what CBOR and MessagePack are written from."""
    if kind == "cbor":
        module = _package(kind)
        return lambda text: bytes(module.dumps(_from_json(text)))
    if kind == "msgpack":
        module = _package(kind)
        return lambda text: bytes(module.packb(_from_json(text)))
    writers: dict[str, Encode] = {
        "text": str.encode,
        "json": _checked_json,
        "hex": _from_hex,
        "base64": _from_base64,
    }
    return writers[kind]


def is_structured(kind: str) -> bool:
    """Whether payloads of this kind are data, shown as JSON, and not text."""
    return kind in ("json", "cbor", "msgpack")


def json_of(value: object, pretty: bool = False) -> str:
    """A value as JSON: in one line, or indented. Raises ``BadPayload`` for what no JSON can say."""
    import json  # which takes long, and most commands have no use for

    try:
        # Characters are left as they are, but for halves of surrogate pairs, which UTF-8 cannot say.
        text = json.dumps(
            value,
            ensure_ascii=False,
            indent=2 if pretty else None,
            separators=None if pretty else (",", ":"),
            allow_nan=False,
        )
        return re.sub(_UNSAYABLE, lambda found: f"\\u{ord(found[0]):04x}", text)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadPayload(f"cannot be written as JSON: {error}") from None


_CONTROL: Final = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
"""What a terminal may take for a command, and what turns text around; not tab and newline."""


def tame(text: str) -> str:
    """Text out of a message for a terminal, without what that would take for commands."""
    return re.sub(_CONTROL, _escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


_UNSAYABLE: Final = "[\x7f-\x9f\u2028\u2029\ud800-\udfff]"
"""Within JSON only strings can hold these; terminals take some of them for commands."""

_TOKEN: Final = (
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<string>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d[\d.eE+-]*)|(?P<word>true|false|null)"
)
_COLOURS: Final = {"key": "34", "string": "32", "number": "36", "word": "35"}


def coloured(text: str) -> str:
    """JSON with the colours of a terminal: keys blue, strings green, numbers cyan, the rest magenta."""

    def paint(found: re.Match[str]) -> str:
        return f"\x1b[{_COLOURS[found.lastgroup or 'word']}m{found[0]}\x1b[0m"

    return re.sub(_TOKEN, paint, text)


def plain(value: Any) -> object:
    """What JSON can say of what CBOR or MessagePack said, after section 6.1 of RFC 8949.

    Bytes become base64url without padding, NaN and infinities null; keys become text; times, decimals and
    other things become what they are as text.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    if isinstance(value, Mapping):
        return {_key(key): plain(one) for key, one in value.items()}
    kind = type(value).__name__
    if kind == "CBORTag":  # one that the library gives no meaning to
        return plain(value.value)
    if kind == "ExtType":  # the same of MessagePack
        return plain(value.data)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return None if kind.lower().startswith("undefined") else str(value)


def _key(value: object) -> str:
    said = plain(value)
    return said if isinstance(said, str) else json_of(said)


def _package(kind: str) -> Any:
    name = _PACKAGES[kind]
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(f"{kind} needs the package {name}: pip install 'curier[{kind}]'") from None


def _cbor_loads(module: Any) -> Callable[[bytes], object]:
    from io import BytesIO

    def load(data: bytes) -> object:
        stream = BytesIO(data)
        value: object = module.CBORDecoder(stream).decode()
        if stream.tell() != len(data):
            raise BadPayload(f"is not CBOR: {len(data) - stream.tell()} bytes are left over")
        return value

    return load


def _guarded(name: str, load: Callable[[bytes], object]) -> Decode:
    """``load``, whatever it raises of a stranger's bytes, and only what JSON can say."""

    def decode(data: bytes) -> object:
        try:
            return plain(load(data))
        except BadPayload:
            raise
        except RecursionError:
            raise BadPayload(f"is not {name} that can be shown: it is nested too deeply") from None
        except Exception as error:  # the libraries have trees of errors of their own
            raise BadPayload(f"is not {name}: {str(error) or type(error).__name__}") from None

    return decode


def _json_loads(data: bytes) -> object:
    import json

    return json.loads(data.decode(), parse_constant=_no_such_constant, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # JSON may say so, and we cannot say it after it
        raise ValueError(f"the number {text} is larger than can be shown")
    return value


def _no_such_constant(name: str) -> object:
    raise ValueError(f"{name} is not a value of JSON")


def _from_json(text: str) -> object:
    try:
        return _json_loads(text.encode())
    except (ValueError, RecursionError) as error:
        raise BadPayload(f"is not JSON: {error}") from None


def _checked_json(text: str) -> bytes:
    import json

    try:
        json.loads(text, parse_constant=_no_such_constant)
    except (ValueError, RecursionError) as error:
        raise BadPayload(f"is not JSON: {error}") from None
    return text.encode()


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise BadPayload("is not hex: expected pairs of the digits 0 to 9 and a to f") from None


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPayload(f"is not base64: {error}") from None
