"""The tables of authenticators in a configuration file."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from curier.auth.http import HttpAuthenticator, HttpSettings
from curier.auth.jwt import JwtSettings
from curier.auth.ldap import LdapAuthenticator, LdapSettings
from curier.auth.sql import SqlAuthenticator, SqlSettings
from curier.config import load
from curier.config_authenticators import KINDS, Asked
from curier.errors import ConfigError
from tests.conftest import require_peer


def read(folder: Path, text: str) -> tuple[Asked, ...]:
    file = folder / "broker.toml"
    file.write_text(text)
    config = load(file)
    config.check()
    assert config.has_users
    return config.asked


def test_they_are_asked_in_their_order_and_paths_are_beside_the_file(tmp_path: Path) -> None:
    asked = read(
        tmp_path,
        """
        listen = ["tcp://0.0.0.0:1883"]
        password_file = "users"
        [[authenticator]]
        kind = "password-file"
        file = "devices"
        [[authenticator]]
        kind = "password-file"
        file = "/etc/people"
        """,
    )
    paths = [str(tmp_path / "users"), str(tmp_path / "devices"), "/etc/people"]
    assert asked == tuple(Asked("password-file", {"file": path}) for path in paths)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("authenticator = 7", "line 1: authenticator: expected tables, each below a line"),
        ("authenticator = []", "line 1: authenticator: expected tables, each below a line"),
        ('[[authenticator]]\nfile = "x"', "line 1: authenticator: expected a kind, which is one of: passw"),
        ('[[authenticator]]\nkind = "ldpa"', "line 2: authenticator.kind: expected one of: password-file"),
        ('[[authenticator]]\nkind = "password-file"', "authenticator: kind password-file needs file = ..."),
        (
            '[[authenticator]]\nkind = "password-file"\nfiel = "x"',
            "line 3: authenticator.fiel: there is no such key; did you mean file?",
        ),
        (
            '[[authenticator]]\nkind = "password-file"\nfile = 7',
            "line 3: authenticator.file: expected a path in quotes, got 7",
        ),
        (
            '[[authenticator]]\nkind = "hooks"\n[[authenticator]]\nkind = "hooks"',
            "line 4: authenticator.kind: it is there already",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=r"broker\.toml, ") as caught:
        read(tmp_path, text)
    assert expected in str(caught.value)


def test_a_file_that_is_not_there_is_told_when_it_is_made(tmp_path: Path) -> None:
    (asked,) = read(tmp_path, '[[authenticator]]\nkind = "password-file"\nfile = "users"')
    with pytest.raises(ConfigError, match="users: there is no such file"):
        asked.make()


def test_tokens(tmp_path: Path) -> None:
    (asked,) = read(
        tmp_path,
        """
        [[authenticator]]
        kind = "jwt"
        secret_file = "secret"
        audience = "mqtt"
        claims = ["site"]
        leeway = "1 min"
        """,
    )
    (tmp_path / "secret").write_bytes(b"s" * 32)
    made = asked.make()
    assert made.name == "jwt"
    with pytest.raises(ConfigError, match="line 1: authenticator: kind jwt needs one of secret, sec"):
        read(tmp_path, '[[authenticator]]\nkind = "jwt"\nkey_file = "a"\njwks_url = "https://b.example"')
    with pytest.raises(ConfigError, match=r"line 3: authenticator\.claims: expected a list of texts"):
        read(tmp_path, '[[authenticator]]\nkind = "jwt"\nclaims = "x"')


@pytest.mark.parametrize(
    ("kind", "settings", "heading"),
    [
        ("jwt", JwtSettings, "## Tokens (JWT)"),
        ("http", HttpSettings, "## Somebody else, over HTTP"),
        ("sql", SqlSettings, "## A database (SQL)"),
        ("ldap", LdapSettings, "## A directory (LDAP)"),
    ],
)
def test_every_setting_is_described(kind: str, settings: type, heading: str) -> None:
    page = (Path(__file__).parent.parent / "docs" / "authentication.md").read_text()
    section = page.split(f"\n{heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    described = re.findall(r"^\| `(\w+)` \|", table[0], re.MULTILINE)
    assert described == [*KINDS[kind].takers] == [field.name for field in fields(settings)]


SQL = '[[authenticator]]\nkind = "sql"\nquery = "x"\nurl = {}\n'


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ('"env:CURIER_TEST_URL"', "postgresql://ana:secret#1@db/x"),
        ('"file:secrets/url"', "postgresql://bob:other@db/x"),
        ('"postgresql://db/env:x"', "postgresql://db/env:x"),
    ],
)
def test_texts_may_stand_somewhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, expected: str
) -> None:
    monkeypatch.setenv("CURIER_TEST_URL", "postgresql://ana:secret#1@db/x")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "url").write_text("postgresql://bob:other@db/x\r\nmore")
    path = tmp_path / "broker.toml"
    path.write_text(SQL.format(url))
    assert load(path).authenticators[0].values["url"] == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('kind = "jwt"\nsecret', "secret"),
        ('kind = "http"\nurl = "https://a.example"\ntoken', "token"),
        ('kind = "sql"\nurl = "mysql://a@localhost/c"\nquery = "{username}"\npassword', "password"),
        ('kind = "ldap"\nurl = "ldaps://a"\nbase = "o=a"\nbind_dn = "cn=a"\npassword', "password"),
    ],
)
def test_secrets_may_stand_somewhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str
) -> None:
    secret = "in-the-environment-since-the-start"
    monkeypatch.setenv("SECRET_OF_CURIER", secret)
    path = tmp_path / "broker.toml"
    path.write_text(f'[[authenticator]]\n{text} = "env:SECRET_OF_CURIER"\n')
    (asked,) = load(path).authenticators
    assert asked.values[name] == secret
    if asked.kind == "ldap":
        require_peer("bonsai")
    made = asked.make()
    assert secret not in repr(getattr(made, "settings", ""))
    path.write_text(f'[[authenticator]]\n{text} = "x"\n{name}_file = "y"\n')
    with pytest.raises(ConfigError, match=f"{name} and {name}_file cannot both be"):
        load(path)


def test_what_is_said_of_a_token_or_secret_that_cannot_be_has_none_of_it() -> None:
    with pytest.raises(ConfigError, match="32 bytes or more") as short:
        JwtSettings(secret="too-short").keys()
    with pytest.raises(ConfigError, match="one line") as long:
        HttpAuthenticator(HttpSettings("https://a.example", token="one\ntwo"))
    with pytest.raises(ConfigError, match="go together"):
        LdapAuthenticator(LdapSettings("ldaps://a", "o=a", password="alone"))
    with pytest.raises(ConfigError, match="not for SQLite"):
        SqlAuthenticator(SqlSettings("sqlite:///x", "{username}", password="alone"))
    assert not any(word in f"{short.value}{long.value}" for word in ("too-short", "two"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ('"env:CURIER_NO_SUCH"', "line 4: authenticator.url: there is no variable CURIER_NO_SUCH in the"),
        ('"file:none"', "line 4: authenticator.url: {folder}/none cannot be read: No such file or directory"),
        ('"file:bytes"', "line 4: authenticator.url: {folder}/bytes: expected UTF-8 text"),
    ],
)
def test_a_text_that_is_not_there_is_told(tmp_path: Path, url: str, expected: str) -> None:
    (tmp_path / "bytes").write_bytes(b"secret\xff")
    path = tmp_path / "broker.toml"
    path.write_text(SQL.format(url))
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert expected.format(folder=tmp_path) in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            'kind = "jwt"\nsecret = "tooshort"',
            "kind jwt: secret: a secret for tokens has 32 bytes or more, not 8",
        ),
        ('kind = "jwt"\nkey_file = "nope"', "kind jwt: {folder}/nope: cannot be read: No such file"),
        ('kind = "password-file"\nfile = "nope"', "kind password-file: {folder}/nope: "),
    ],
)
def test_one_that_cannot_be_made_says_where_it_stands(tmp_path: Path, table: str, expected: str) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(f"\n[[authenticator]]\n{table}\n")
    (asked,) = load(path).authenticators
    with pytest.raises(ConfigError) as raised:
        asked.make()
    assert str(raised.value).startswith(f"{path}, line 2: authenticator, ")
    assert expected.format(folder=tmp_path) in str(raised.value)
    assert "tooshort" not in str(raised.value)
