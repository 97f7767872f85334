"""The file of keys that TLS clients know too: what is read, and what is refused, on every Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.errors import ConfigError
from curier.listeners import Listener
from curier.net import psk_file
from curier.net.psk_file import MOST_KEY_BYTES, about_keys, read_keys

KEY = "000102030405060708090a0b0c0d0e0f"


def written(directory: Path, text: str | bytes) -> Path:
    path = directory / "keys"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def test_lines_of_mosquitto(tmp_path: Path) -> None:
    text = f"\ufeff# keys\r\ndev1:{KEY}\r\n\r\n  dev 2 : {KEY.upper()} \nçé:ff\n"
    key = bytes(range(16))
    assert read_keys(written(tmp_path, text)) == {"dev1": key, "dev 2": key, "çé": b"\xff"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("c0ffee00c0ffee", "expected identity:key"),
        (":c0ffee00c0ffee", "expected identity:key"),
        ("dev1:", "the key is empty"),
        ("dev1:c0ffee00c0ffe", "the key has 13 digits, which are not pairs"),
        ("dev1:0xc0ffee00c0ffee", "the key has other characters"),
        ("dev1:c0 ff ee 00", "the key has other characters"),
        ("dev1:٣٣٣٣", "the key has other characters"),
        ("dev1:x:c0ffee00c0ffee", "the first colon ends the identity"),
        ("dev0:c0ffee00c0ffee", "the identity 'dev0' is there twice"),
        ("d\x00v:c0ffee00c0ffee", "an identity is printable and has 128 bytes at most"),
        ("d" * 129 + ":c0ffee00c0ffee", "an identity is printable and has 128 bytes at most"),
        ("dev1:" + "c0" * (MOST_KEY_BYTES + 1), "the key has 257 bytes; 256 at most"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_without_the_key(
    tmp_path: Path, line: str, expected: str
) -> None:
    path = written(tmp_path, f"# keys\ndev0:{KEY}\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        read_keys(path)
    assert str(caught.value).startswith(f"psk_file {path}, line 3: {expected}")
    assert "c0ffee" not in str(caught.value)
    assert "٣" not in str(caught.value)


def test_a_file_without_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key in it"):
        read_keys(written(tmp_path, "# none yet\n"))
    with pytest.raises(ConfigError, match="expected text in UTF-8"):
        read_keys(written(tmp_path, b"\xff:00"))
    with pytest.raises(ConfigError, match="there is no such file"):
        read_keys(tmp_path / "none")


def test_short_keys_are_warned_of_without_being_shown() -> None:
    assert about_keys("keys", {"a": bytes(16)}) == []
    (said,) = about_keys("keys", {"a": bytes(16), "b": b"\xc0\xff\xee"})
    assert said.startswith("psk_file keys: weak, keys of less than 16 bytes")
    assert said.endswith(": b")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"certificate": "c.pem"}, "leave certificate out"),
        ({"certificates": (("c.pem", "k.pem"),)}, "leave certificates out"),
        ({"client_ca": "ca.pem"}, "leave client_ca out"),
        ({"identity": "dns"}, "leave identity out"),
        ({"client_certificates": "required"}, "leave client_certificates out"),
        ({"partial_chain": True}, "partial_chain is about certificates of clients"),
        ({"lowest_tls": "1.3"}, "psk_file is for TLS 1.2"),
        ({"psk_hint": "x" * 129}, "psk_hint is printable and has 128 bytes at most"),
        ({"psk_hint": "x\0"}, "psk_hint is printable and has 128 bytes at most"),
    ],
)
def test_what_cannot_be_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(psk_file, "PYTHON_HAS_PSK", True)
    monkeypatch.setattr(psk_file, "OPENSSL_HAS_PSK", True)
    path = written(tmp_path, f"dev1:{KEY}")
    with pytest.raises(ConfigError, match=expected):
        curier.Broker(listen=Listener("tls://127.0.0.1:0", psk_file=path, **settings))


def test_a_python_without_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psk_file, "PYTHON_HAS_PSK", False)
    version = sys.version.split()[0]
    listener = Listener("tls://127.0.0.1:0", name="keys", psk_file=written(tmp_path, f"dev1:{KEY}"))
    expected = f"^keys: psk_file needs Python 3.13 or newer, and this is {version}"
    with pytest.raises(ConfigError, match=expected):
        curier.Broker(listen=listener)


def test_an_openssl_without_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psk_file, "PYTHON_HAS_PSK", True)
    monkeypatch.setattr(psk_file, "OPENSSL_HAS_PSK", False)
    with pytest.raises(ConfigError, match="was built without PSK"):
        curier.Broker(listen=Listener("tls://127.0.0.1:0", psk_file=written(tmp_path, f"dev1:{KEY}")))


def test_it_is_for_tls_and_a_hint_is_for_it() -> None:
    with pytest.raises(ConfigError, match="psk_file is for tls:// and wss://"):
        Listener("tcp://127.0.0.1:1", psk_file="keys").check()
    with pytest.raises(ConfigError, match="psk_hint needs a psk_file"):
        Listener("tls://127.0.0.1:1", psk_hint="x").check()
