"""``curier broker``: how options and configuration file become settings, and what is said of wrong ones."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import curier.cli.serve
from curier.auth import AllowAnonymous, Chain
from curier.cli import main
from curier.cli.serve import authenticator_of, explain_listen_error, greeting, own_command, serve
from curier.config import Config
from curier.config_authenticators import HOOKS, Asked
from curier.errors import StoreError
from curier.listeners import Listener
from curier.server import Broker

Run = Callable[..., Config]


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["broker", *map(str, arguments)])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command, and returns the settings it would serve with."""

    def run(*arguments: str | Path) -> Config:
        served: list[Config] = []

        async def serve(config: Config, reread: object) -> None:
            served.append(config)

        monkeypatch.setattr(curier.cli.serve, "serve", serve)
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
        return served[0]

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "broker.toml"
    path.write_text(
        """
        listen = ["tcp://127.0.0.1:4000"]
        data = "state"
        durability = "os"
        log_level = "error"
        password_file = "users"
        sys_interval = 1

        [limits]
        max_packet_size = 1000
        retry_interval = 2
        max_sessions = 3
        """
    )
    return path


def test_without_options_it_is_this_machine_only_and_keeps_its_state(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    config = run()
    assert config.directory == str(tmp_path / "curier")
    assert [door.url for door in config.doors()] == ["tcp://127.0.0.1:1883", "tcp://[::1]:1883"]
    assert (config.data, config.allow_anonymous, config.password_file) == (None, None, None)
    assert config.log_level == "info"


def test_options_become_settings(run: Run, tmp_path: Path) -> None:
    config = run(
        *("--listen", "tcp://0.0.0.0:0", "--listen", "tcp://[::1]"),
        *("--data", tmp_path, "--durability", "os"),
        *("--allow-anonymous", "--password-file", "users"),
        *("--log-level", "debug", "--max-packet-size", "1 MiB", "--sys-interval", "1 min"),
        *("--retry-interval", "20"),
    )
    assert config.listen == ("tcp://0.0.0.0:0", "tcp://[::1]")
    assert (config.data, config.durability) == (str(tmp_path), "os")
    assert (config.allow_anonymous, config.password_file) == (True, "users")
    assert config.log_level == "debug"
    options = config.options
    assert (options.max_packet_size, options.sys_interval, options.retry_interval) == (2**20, 60.0, 20.0)


def test_a_certificate_is_for_all_listeners_that_speak_tls(run: Run) -> None:
    config = run(
        *("--listen", "tls://127.0.0.1", "--listen", "ws://127.0.0.1:8083/mqtt", "--listen", "wss://[::1]:1"),
        *("--certificate", "c.pem", "--key", "k.pem", "--client-ca", "ca.pem"),
    )
    assert [(door.url, door.certificate, door.key, door.client_ca) for door in config.doors()] == [
        ("tls://127.0.0.1", "c.pem", "k.pem", "ca.pem"),
        ("ws://127.0.0.1:8083/mqtt", None, None, None),
        ("wss://[::1]:1", "c.pem", "k.pem", "ca.pem"),
    ]


def test_listen_takes_the_place_of_all_listeners_of_the_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text('[[listener]]\nurl = "tcp://127.0.0.1:4000"\nname = "a"')
    assert [door.name for door in run("--config", path).doors()] == ["a"]
    config = run("--config", path, "--listen", "tcp://127.0.0.1:0")
    assert [door.url for door in config.doors()] == ["tcp://127.0.0.1:0"]


def test_the_file_counts_where_no_option_is_given(run: Run, file: Path) -> None:
    config = run("--config", file)
    assert config.listen == ("tcp://127.0.0.1:4000",)
    assert (config.data, config.durability) == (str(file.parent / "state"), "os")
    assert (config.log_level, config.password_file) == ("error", str(file.parent / "users"))
    options = config.options
    assert (options.max_packet_size, options.sys_interval, options.retry_interval) == (1000, 1.0, 2.0)
    assert options.max_sessions == 3


def test_options_beat_the_file(run: Run, file: Path) -> None:
    config = run(
        *("--config", file, "--listen", "tcp://127.0.0.1:0", "--memory", "--log-level", "info"),
        *("--password-file", "others", "--allow-anonymous", "--max-packet-size", "2000"),
        *("--sys-interval", "0", "--retry-interval", "0"),
    )
    assert config.listen == ("tcp://127.0.0.1:0",)
    assert (config.data, config.memory, config.durability) == (None, True, None)
    assert (config.log_level, config.password_file, config.allow_anonymous) == ("info", "others", True)
    options = config.options
    assert (options.max_packet_size, options.sys_interval, options.retry_interval) == (2000, 0.0, 0.0)
    assert options.max_sessions == 3


def test_a_directory_beats_memory_in_the_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text("memory = true")
    config = run("--config", path, "--data", "state")
    assert (config.data, config.memory) == ("state", False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--listen", "http://127.0.0.1"], "Error: 'http://127.0.0.1': expected the scheme tcp://"),
        (["--listen", "tcp://0.0.0.0"], "Error: tcp://0.0.0.0 can be reached from other machines"),
        (["--listen", "fd://3"], "Error: fd://3 may be reached from other machines"),
        (["--memory", "--data", "state"], "--data and --memory cannot both be"),
        (["--durability", "fsync", "--memory"], "Error: durability fsync and memory cannot both be"),
        (["--durability", "none"], "Invalid value for '--durability'"),
        (
            ["--max-packet-size", "big"],
            "Invalid value for '--max-packet-size': expected a whole number of bytes",
        ),
        (["--max-packet-size", "1"], "Error: max_packet_size must be from 64 to"),
        (["--sys-interval", "often"], "Invalid value for '--sys-interval': expected a number of seconds"),
        (["--retry-interval", "-1"], "Invalid value for '--retry-interval': expected a number of seconds"),
        (["--config", "no.toml"], "Error: no.toml: there is no such file"),
        (
            ["--password-file", "no-users"],
            "Error: no-users: there is no such file; make it with: curier passwd",
        ),
        (
            ["surplus"],
            "Error: there is nothing to do with 'surplus' here: this command takes options alone\n",
        ),
        (["--liste", "x"], "No such option"),
    ],
)
def test_what_cannot_be_is_told_in_a_line_with_exit_code_2(arguments: list[str], expected: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert result.stdout == ""


def test_a_file_of_settings_by_itself_is_told_its_option(file: Path) -> None:
    result = invoke(file)
    assert result.exit_code == 2
    assert f"; a file of settings is given as --config {file}" in result.stderr


def test_other_errors_of_curier_exit_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(config: Config, reread: object) -> None:
        raise StoreError("state/journal: the disk is full")

    monkeypatch.setattr(curier.cli.serve, "serve", serve)
    result = invoke()
    assert (result.exit_code, result.stderr) == (1, "Error: state/journal: the disk is full\n")


def test_help_teaches() -> None:
    for command in main.commands.values():
        shown = CliRunner().invoke(main, [command.name or "", "--help"])
        assert shown.exit_code == 0
        assert "Examples:\n" in shown.stdout
        assert f"curier {command.name}" in shown.stdout
        assert all(isinstance(p, click.Argument) or getattr(p, "help", None) for p in command.params)


def test_the_configuration_file_in_the_help_is_right(run: Run, tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["broker", "--help"]).stdout
    example = shown.partition("A configuration file, every key optional:\n")[2].partition("\n\n")[0]
    path = tmp_path / "broker.toml"
    path.write_text(example)
    config = run("--config", path)
    assert config.password_file == str(tmp_path / "users")
    assert config.options.max_queued_bytes == 16 * 2**20


def test_the_command_itself_tells_version_and_help() -> None:
    version = CliRunner().invoke(main, ["--version"], prog_name="curier")
    assert (version.exit_code, version.stdout[:7]) == (0, "curier ")
    helped = CliRunner().invoke(main, ["-h"])
    assert helped.exit_code == 0
    assert "Try it" in helped.stdout


# -- what the terminal says --


def doors(*urls: str) -> dict[str, Listener]:
    return {url: Listener(url) for url in urls}


def test_the_greeting_of_a_broker_in_memory() -> None:
    assert greeting(Config(memory=True), doors("tcp://127.0.0.1:41234", "tcp://[::1]:5")).splitlines() == [
        "listening on tcp://127.0.0.1:41234",
        "listening on tcp://[::1]:5",
        "kept in memory only: everything is lost when the broker stops",
        "subscribe: curier sub -h 127.0.0.1 -p 41234 -t 'greetings/#' -v",
        "publish:   curier pub -h 127.0.0.1 -p 41234 -t greetings/world -m hello",
        "           (or mosquitto_sub and mosquitto_pub, with the same options)",
        "stop:      Ctrl-C",
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("tcp://0.0.0.0:1883", "curier sub -h 127.0.0.1 -p 1883 -t"),
        ("tcp://[::]:1883", "curier sub -h ::1 -p 1883 -t"),
        ("tcp://[::1]:7", "curier sub -h ::1 -p 7 -t"),
        ("tcp://broker.example:7", "curier sub -h broker.example -p 7 -t"),
        ("tls://0.0.0.0:8883", "curier sub -h 127.0.0.1 -p 8883 --cafile CA.pem -t"),
        ("ws://[::]:80", "curier sub -L ws://[::1]:80/mqtt -t"),
        ("wss://broker.example:443/a", "curier sub -L wss://broker.example:443/a --cafile CA.pem -t"),
        ("unix:///run/a b.sock", "curier sub --unix '/run/a b.sock' -t"),
    ],
)
def test_the_greeting_names_an_address_one_can_connect_to(url: str, expected: str) -> None:
    assert expected in greeting(Config(listen=(url,), allow_anonymous=True), doors(url))


def test_the_greeting_shows_the_plainest_way_in() -> None:
    listeners = doors("tls://127.0.0.1:8", "unix:///run/c.sock", "tcp://127.0.0.1:7")
    assert "curier sub -h 127.0.0.1 -p 7 -t" in greeting(Config(), listeners)


CERTIFICATE = "--cafile CA.pem --cert CERT.pem --key KEY.pem"
PROXIES = (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("door", "expected"),
    [
        (Listener("tls://[::1]:8", client_ca="ca.pem"), f"-h ::1 -p 8 {CERTIFICATE}"),
        (Listener("tls://[::1]:8", client_ca="ca.pem", identity="dns"), f"-h ::1 -p 8 {CERTIFICATE}"),
        (
            Listener("tls://[::1]:8", client_ca="ca.pem", client_certificates="optional", identity="dns"),
            "-h ::1 -p 8 --cafile CA.pem",
        ),
        (Listener("tls://[::1]:8", psk_file="keys"), "-h ::1 -p 8 --psk KEY --psk-identity NAME"),
        (Listener("tcp://[::1]:8", proxy_protocol=PROXIES), "-h PROXY -p PORT"),
        (Listener("ws://[::1]:8/mqtt", proxy_protocol=PROXIES), "-L ws://PROXY:PORT/mqtt"),
        (
            Listener("tcp://[::1]:8", proxy_protocol=PROXIES, proxy_certificates=True, allow_anonymous=False),
            f"-h PROXY -p PORT {CERTIFICATE}",
        ),
    ],
)
def test_the_greeting_tells_what_a_listener_knows_its_clients_by(door: Listener, expected: str) -> None:
    assert f"curier sub {expected} -t" in greeting(Config(), {door.url: door})


def test_the_greeting_shows_a_way_without_a_proxy_where_there_is_one() -> None:
    behind = Listener("tcp://[::1]:8", proxy_protocol=PROXIES)
    assert "curier sub --unix /run/c.sock -t" in greeting(
        Config(), {behind.url: behind, **doors("unix:///run/c.sock")}
    )


def test_the_greeting_of_a_broker_with_users_asks_for_a_name_and_password() -> None:
    shown = greeting(Config(password_file="users"), doors("tcp://127.0.0.1:1883"))
    assert "curier sub -h 127.0.0.1 -p 1883 -u USER -P PASSWORD -t" in shown


@pytest.mark.parametrize(
    ("called", "on_path", "expected"),
    [
        ("{here}/curier", True, "curier"),
        ("{here}/curier", False, "{here}/curier"),
        ("{here}/a b/curier", True, "'{here}/a b/curier'"),
        ("{here}/__main__.py", True, "python3 -m curier"),
    ],
)
def test_the_greeting_shows_commands_that_can_be_typed_here(
    called: str, on_path: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "curier").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if on_path else "")
    monkeypatch.setattr("sys.argv", [called.format(here=tmp_path), "broker"])
    monkeypatch.setattr("sys.executable", "/usr/bin/python3")
    assert own_command() == expected.format(here=tmp_path)


def test_a_worker_shows_commands_as_who_started_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "curier").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["/lib/curier/__main__.py", "broker", "--workers", "2"])
    monkeypatch.setenv("CURIER_CALLED", str(tmp_path / "curier"))
    assert own_command() == "curier"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Config(data="state"), "is sent when it is on the disk"),
        (Config(data="state", durability="os"), "is sent when the operating system has it"),
    ],
)
def test_the_greeting_says_what_an_acknowledgement_waits_for(config: Config, expected: str) -> None:
    assert f"stored in state: an acknowledgement {expected}\n" in greeting(
        config, doors("tcp://127.0.0.1:1883")
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Config(memory=True), "look on:   curier trace\n"),
        (Config(data="my state"), "look on:   curier trace 'my state'\n"),
    ],
)
def test_the_greeting_says_how_to_look_on_where_one_can(config: Config, expected: str) -> None:
    assert expected in greeting(config, doors("tcp://127.0.0.1:1883"), is_traced=True)
    assert "look on" not in greeting(config, doors("tcp://127.0.0.1:1883"))


def test_who_may_connect_follows_the_settings(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.touch(0o600)
    assert authenticator_of(Config()) is None  # loopback only
    assert type(authenticator_of(Config(allow_anonymous=True))) is AllowAnonymous
    tables = (Asked("password-file", {"file": str(tmp_path / "others")}), Asked(HOOKS))
    (tmp_path / "others").touch(0o600)
    of_hooks = AllowAnonymous()
    chain = authenticator_of(Config(password_file=str(users), authenticators=tables), of_hooks)
    assert isinstance(chain, Chain)
    names = [source.name.removeprefix(f"password file {tmp_path}/") for source in chain.sources]
    assert names == ["users", "others", "AllowAnonymous"]
    assert authenticator_of(Config(hooks=("own.py",)), of_hooks) is of_hooks


LISTEN = ("tcp://127.0.0.1:1883", "tcp://127.0.0.1:188")


@pytest.mark.parametrize(
    ("error", "listen", "expected"),
    [
        (
            OSError(errno.EADDRINUSE, "cannot listen on tcp://127.0.0.1:1883: Address already in use"),
            LISTEN,
            "cannot listen on tcp://127.0.0.1:1883: another program uses this port; stop it, or",
        ),
        (
            PermissionError(errno.EACCES, "cannot listen on tcp://127.0.0.1:188: Permission denied"),
            LISTEN,
            "cannot listen on tcp://127.0.0.1:188: this user may not use this port; choose one above 1023",
        ),
        (
            OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"),
            LISTEN[:1],
            "cannot listen on tcp://127.0.0.1:1883: this machine has no such address",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            ("tcp://no.invalid", "tcp://127.0.0.1"),
            "cannot listen on tcp://no.invalid or tcp://127.0.0.1: the host name is not known",
        ),
        (
            OSError(errno.EMFILE, "?"),
            LISTEN[:1],
            "cannot listen on tcp://127.0.0.1:1883: Too many open files",
        ),
        (OSError("odd"), LISTEN[:1], "cannot listen on tcp://127.0.0.1:1883: odd"),
        (
            OSError(errno.EADDRINUSE, "cannot listen on unix:///c: another program listens there"),
            ("tcp://127.0.0.1", "unix:///c"),
            "cannot listen on unix:///c: another program listens there",
        ),
    ],
)
def test_an_address_that_cannot_be_had_is_explained(
    error: OSError, listen: tuple[str, ...], expected: str
) -> None:
    assert explain_listen_error(error, listen).startswith(expected)


def test_a_broker_that_fails_is_stopped_and_the_error_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    class Failing(Broker):
        async def serve_forever(self) -> None:
            calls.append("serve")
            raise StoreError("the disk is gone")

        async def stop(self) -> None:
            calls.append("stop")
            await super().stop()

    monkeypatch.setattr(curier.cli.serve, "Broker", Failing)
    monkeypatch.setattr(curier.cli.serve, "start_logging", lambda _: None)
    with pytest.raises(StoreError, match="the disk is gone"):
        asyncio.run(serve(Config(listen=("tcp://127.0.0.1:0",), durability="memory")))
    assert calls == ["serve", "stop"]
    assert gc.get_freeze_count() == 0  # a program that calls this has its collector back
    assert capsys.readouterr().out.startswith("listening on tcp://127.0.0.1:")


@pytest.mark.parametrize(
    ("option", "way_out"),
    [
        ("-p", "there is no option -p: where to listen is a URL: --listen tcp://HOST:PORT"),
        ("--port", "there is no option --port: where to listen is a URL: --listen tcp://HOST:PORT"),
        (
            "-c",
            "a configuration file is --config FILE; Mosquitto's is translated by curier config from-",
        ),
        ("-v", "--log-level debug"),
        ("--prot", "No such option '--prot'"),
    ],
)
def test_what_other_brokers_call_an_option_is_told(option: str, way_out: str) -> None:
    result = invoke(option, "1883")
    assert result.exit_code == 2
    assert way_out in result.output
