"""Options and profiles: what they become as settings of a client, and what is said of wrong ones."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from curier.cli.connecting import Connection, connection_options, split_topics
from curier.cli.options import NEVER, ClientCommand, option
from curier.client.settings import ClientSettings
from curier.errors import ConfigError
from curier.types import Message, QoS, Will

Take = Callable[..., Connection]


@pytest.fixture
def take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Take:
    """Parses the words of a command line."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("CURIER_PASSWORD", raising=False)

    def take(*words: str, profile: str = "") -> Connection:
        if profile:
            path = tmp_path / "client.toml"
            path.touch(0o600)
            path.write_text(f"[profile.default]\n{profile}")
            words = (*words, "--config", str(path))
        taken: list[Connection] = []

        @click.command(cls=ClientCommand)
        @option("-q", "--qos", type=int)
        @option("-r", "--retain", is_flag=True)
        @option("-m", "--message")
        @connection_options
        @click.pass_context
        def command(ctx: click.Context, /, **options: Any) -> None:
            taken.append(Connection.take(ctx, options, ("publish",)))

        result = CliRunner().invoke(command, words, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return taken[0]

    return take


def settings(connection: Connection, **more: Any) -> ClientSettings:
    return connection.settings(**more)


# -- where the server is --


@pytest.mark.parametrize(
    ("words", "urls"),
    [
        ([], ["mqtt://localhost:1883"]),
        (["-h", "broker.example"], ["mqtt://broker.example:1883"]),
        (["-h", "::1", "-p", "7"], ["mqtt://[::1]:7"]),
        (["-p", "8883"], ["mqtts://localhost:8883"]),
        (["--tls-use-os-certs"], ["mqtts://localhost:8883"]),
        (["--tls-use-os-certs", "-p", "7"], ["mqtts://localhost:7"]),
        (["--unix", "/run/a b.sock"], ["unix:///run/a%20b.sock"]),
        (["-L", "mqtt://ana:x@a:7/site/#"], ["mqtt://ana:x@a:7"]),
        (["-L", "wss://a/mqtt", "-L", "mqtts://b"], ["wss://a/mqtt", "mqtts://b"]),
    ],
)
def test_the_server(take: Take, words: list[str], urls: list[str]) -> None:
    assert settings(take(*words)).urls() == urls


def test_a_relative_socket_is_in_this_directory(take: Take) -> None:
    assert take("--unix", "a.sock").urls(False) == [f"unix://{os.getcwd()}/a.sock"]


def test_the_topic_of_a_url_is_left_as_it_is_written() -> None:
    assert split_topics(["mqtt://a/x/%20/+/#?", "mqtts://b"]) == (("mqtt://a", "mqtts://b"), "x/%20/+/#?")
    assert split_topics(["ws://a/path", "unix:///x"]) == (("ws://a/path", "unix:///x"), None)
    assert split_topics(["mqtt://a/t", "mqtt://b/t"]) == (("mqtt://a", "mqtt://b"), "t")
    assert split_topics(["mqtt://a:7/t@x", "mqtt://[::1]/t@x"])[1] == "t@x"
    with pytest.raises(click.UsageError, match="/ is written %2F") as raised:
        split_topics(["mqtt://ana:geh/eim@b/t"])
    assert "geh" not in raised.value.message
    with pytest.raises(click.UsageError, match="different topics"):
        split_topics(["mqtt://a/t", "mqtt://b/u"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-h", "a", "-L", "mqtt://b"], "--url and --host cannot both be"),
        (["-h", "a", "--unix", "b"], "--host and --unix cannot both be"),
        (["-L", "mqtt://a", "-p", "7"], "-p goes with -h"),
        (["-p", "0"], "0 is not in the range"),
        (["-P", "a", "--password-file", "b"], "--pw and --password-file cannot both be"),
        (["-i", "a", "-I", "b"], "--id and --id-prefix cannot both be"),
        (["-c"], "-c needs -i"),
        (["-V", "4"], "expected 5, 311 or 31"),
        (["-x", "1.5"], "expected whole seconds"),
        (["-x", "4294967296"], "4294967295 at most"),
        (["-x", "soon"], "expected a number of seconds"),
        (["--will-retain"], "a will needs --will-topic"),
        (["-D", "will", "will-delay-interval", "1"], "-D will needs --will-topic"),
        (["-V", "311", "-D", "publish", "content-type", "x"], "-D needs MQTT 5.0"),
        (["--profile", "none"], "there is no profile none"),
        (["-S"], "-S is not offered: look the server up"),
        (["--tls-engine", "pkcs11"], "--tls-engine is not offered: Python's TLS has no engines"),
        (["--keyform", "engine", "--key", "a"], "keys are PEM files"),
        (["--keyform", "pem"], "--keyform is of --key"),
        (["--psk", "00"], "--psk and --psk-identity go together"),
        (["--psk", "00", "--psk-identity", "a", "--cafile", "b"], "--psk is in place of certificates"),
    ],
)
def test_what_does_not_go_together_is_told(take: Take, words: list[str], said: str) -> None:
    with pytest.raises((click.ClickException, ConfigError)) as raised:
        take(*words)
    error = raised.value
    assert said in (error.message if isinstance(error, click.ClickException) else str(error))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["-L", "mqtt://a", "--insecure"],
            "a mqtt URL is not encrypted, but there are TLS options: use mqtts",
        ),
        (["--unix", "a", "--insecure"], "TLS on a Unix socket is not offered"),
        (["-x", "1", "-D", "connect", "session-expiry-interval", "2"], "are the same: keep one"),
        (["-D", "connect", "authentication-data", "x"], "needs an authentication-method"),
        (["--cafile", "/none.pem"], "/none.pem"),
        (["--key", "/none.pem"], "--key needs --cert: give both"),
        (["--cert", "/none.pem"], "--cert /none.pem: there is no such file"),
        (["--cafile", __file__], "--cafile "),
        (["--capath", "/none"], "--capath /none: "),
        (["--ciphers", "NONE-OF-THESE"], "--ciphers NONE-OF-THESE: OpenSSL knows none of these"),
        (["-u", "a", "--password-file", "/none"], "password file /none: No such file"),
        (["-D", "connect", "receive-maximum", "0"], "expected a whole number, 1 to 65535"),
    ],
)
def test_what_cannot_be_a_setting_is_told(take: Take, words: list[str], said: str) -> None:
    with pytest.raises((click.UsageError, ConfigError)) as raised:
        settings(take(*words))
    error = raised.value
    assert said in (error.message if isinstance(error, click.UsageError) else str(error))


# -- who connects, and how --


def test_by_default_everything_is_as_the_library_has_it(take: Take) -> None:
    assert settings(take()) == ClientSettings(["mqtt://localhost:1883"])


def test_options_become_settings(take: Take) -> None:
    made = settings(
        take(
            *("-u", "ana", "-P", "x", "-i", "gw", "-V", "mqttv5", "-k", "30", "-c", "-x", "1 h"),
            *("--reconnect", "3", "--retry-connect", "--proxy", "socks5://p"),
            *("--will-topic", "gone", "--will-payload", "bye", "--will-qos", "1", "--will-retain"),
            *("-D", "will", "will-delay-interval", "5", "-D", "will", "user-property", "k", "v"),
            *("-D", "connect", "receive-maximum", "7", "-D", "connect", "user-property", "a", "b"),
        )
    )
    assert (made.username, made.password, made.client_id, made.version) == ("ana", "x", "gw", 5)
    assert (made.keep_alive, made.clean_start, made.session_expiry) == (30, False, 3600)
    assert made.reconnect is not None
    assert (made.reconnect.attempts, made.retry_first_connect, made.proxy) == (3, True, "socks5://p")
    message = Message("gone", b"bye", QoS(1), True, user_properties=(("k", "v"),))
    assert made.will == Will(message, 5)
    assert (made.receive_maximum, made.user_properties) == (7, (("a", "b"),))


def test_a_session_that_is_kept_does_not_expire(take: Take) -> None:
    kept = settings(take("-c", "-i", "a"))
    assert (kept.clean_start, kept.session_expiry) == (False, NEVER)
    assert settings(take("-x", "∞")).session_expiry == NEVER
    assert settings(take("-x", "0")).session_expiry == 0


def test_a_prefix_is_followed_by_the_process(take: Take) -> None:
    assert take("-I", "p-").client_id == f"p-{os.getpid()}"


def test_what_only_5_can_say_wants_5(take: Take) -> None:
    assert settings(take()).version is None
    assert settings(take(), needs_version_5=True).version == 5
    assert settings(take("-D", "publish", "content-type", "x")).version == 5
    assert settings(take("-V", "311"), needs_version_5=True).version == 4


def test_how_often_it_connects_again(take: Take) -> None:
    assert settings(take("--reconnect", "0")).reconnect is None
    assert settings(take("--reconnect", "2"), attempts=5).reconnect.attempts == 2  # type: ignore[union-attr]
    assert settings(take(), attempts=5).reconnect.attempts == 5  # type: ignore[union-attr]


def test_an_authentication_method_says_what_it_was_given(take: Take) -> None:
    words = ("-D", "connect", "authentication-method", "TOKEN", "-D", "connect", "authentication-data", "x")
    authentication = settings(take(*words)).authentication
    assert authentication is not None
    assert (authentication.method, authentication.begin()) == ("TOKEN", b"x")


# -- passwords --


def test_passwords_come_from_where_they_are_safe(
    take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"from file\r\nmore\n")
    assert take("-u", "a", "--password-file", str(secret)).secret() == "from file"
    monkeypatch.setenv("CURIER_PASSWORD", "from environment")
    assert take("-u", "a").secret() == "from environment"
    assert take("-L", "mqtt://a@b").secret() == "from environment"
    assert take("-u", "a", profile='password = "x"').secret() == "from environment"
    assert take("-u", "a", "-P", "given").secret() == "given"
    assert take("-u", "a", "--password-file", str(secret)).secret() == "from file"
    assert take("-L", "mqtt://a:in-url@b").secret() is None  # it is in the URL
    assert take().secret() is None  # nobody is named who could have it


def test_a_password_is_never_shown(take: Take) -> None:
    made = settings(take("-u", "a", "-P", "geheim"))
    assert "geheim" not in repr(made)


# -- profiles --


def test_options_beat_the_profile(take: Take) -> None:
    profile = 'host = "a"\nport = 7\nusername = "ana"\nkeepalive = 5\ninsecure = true\nid = "x"'
    connection = take("-k", "6", profile=profile)
    assert connection.urls(False) == ["mqtt://a:7"]
    assert (connection.keepalive, connection.username, connection.insecure) == (6, "ana", True)
    assert take("-p", "8", profile=profile).urls(False) == ["mqtt://a:8"]
    assert take("-h", "b", profile=profile).urls(False) == ["mqtt://b:1883"]
    assert take("-L", "mqtts://b", profile=profile).urls(True) == ["mqtts://b"]
    assert take("-I", "p", profile=profile).id is None
    assert take("-P", "y", profile='password_file = "none"').secret() == "y"


def test_a_profile_that_contradicts_itself_is_told(take: Take) -> None:
    with pytest.raises(click.UsageError, match="more than one of url, host and unix"):
        take(profile='host = "a"\nunix = "b"')


# -- TLS --


def test_tls_options_make_a_context(take: Take) -> None:
    assert settings(take()).tls is None
    context = settings(take("--tls-use-os-certs")).tls
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_insecure_compares_no_names_but_still_wants_a_signature(take: Take) -> None:
    context = settings(take("--insecure", "--tls-version", "tlsv1.3")).tls
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_a_directory_of_authorities_is_all_that_is_trusted(take: Take, tmp_path: Path) -> None:
    context = settings(take("--capath", str(tmp_path))).tls
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.get_ca_certs() == []


# -- words --


def test_user_properties_have_a_word_more(take: Take) -> None:
    connection = take(
        *("-D", "publish", "user-property", "k", "-D", "-rD", "PUBLISH", "content-type", "text/plain"),
        *("--property", "publish", "user-property", "--", "-m", "-m", "-D"),
    )
    assert connection.properties.of("publish") == {
        "content_type": "text/plain",
        "user_properties": (("k", "-D"), ("--", "-m")),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-D", "publish", "user-property", "k"], "requires 4 arguments"),
        (["-D", "publish"], "requires 3 arguments"),
        (["-D", "subscribe", "user-property", "k", "v"], "-D subscribe: expected one of these packets"),
        (["-D", "publish", "topic-alias", "1"], "curier chooses Topic Aliases itself"),
        (["-D", "publish", "colour", "red"], "expected one of these: content-type, "),
        (["-D", "publish", "payload-format-indicator", "2"], "expected a whole number, 0 to 1, got '2'"),
        (["-D", "publish", "message-expiry-interval", "-1"], "expected a whole number, 0 to 4294967295"),
        (["-D", "publish", "content-type", "a", "-D", "publish", "content-type", "b"], "more than once"),
    ],
)
def test_properties_that_cannot_be_are_told(take: Take, words: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        take(*words)
    assert said in raised.value.message
