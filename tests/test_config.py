"""Settings: what a file may say, what is said of a file that is wrong, and who may connect by default."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from curier.broker.options import Options
from curier.cluster_settings import WorkerSettings
from curier.config import Config, Durability, load, with_settings
from curier.config_authenticators import HOOKS, Asked
from curier.errors import ConfigError
from curier.settings.environment import settings_of
from curier.settings.kinds import COUNT, FLAG, SECONDS, SIZE, TEXT, WHOLE_SECONDS
from curier.settings.setting import Setting
from curier.settings.table import ALL, LIMIT, TOP
from curier.strict_toml import parse_seconds, parse_size
from tests.each import each

MIB = 2**20


def load_text(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "broker.toml"
    path.write_text(text)
    return load(path)


# -- what a file may say --


def test_an_empty_file_leaves_every_default(tmp_path: Path) -> None:
    config = load_text(tmp_path, "")
    defaults = Options()
    assert [door.url for door in config.doors()] == ["tcp://127.0.0.1:1883", "tcp://[::1]:1883"]
    assert (config.data, config.memory, config.durability) == (None, False, None)
    assert (config.allow_anonymous, config.password_file, config.log_level) == (None, None, "info")
    for name in LIMIT:
        assert getattr(config.options, name) == getattr(defaults, name)


def test_every_key_is_taken(tmp_path: Path) -> None:
    config = load_text(
        tmp_path,
        """
        listen = [
            "tcp://0.0.0.0:1883",
            "tcp://[::1]:0",
        ]
        data = "state"
        memory = false
        durability = "os"
        allow_anonymous = true
        password_file = "/etc/curier/users"
        log_level = "debug"
        sys_interval = "1 min"

        [limits]
        max_packet_size = "2 MiB"
        max_connections = 12
        connect_timeout = 2.5
        retry_interval = 20
        session_expiry_maximum = "2 d"
        when_full = "drop-oldest"
        queue_qos0 = true
        response_information = "replies/{client_id}"
        """,
    )
    assert config.listen == ("tcp://0.0.0.0:1883", "tcp://[::1]:0")
    assert config.data == str(tmp_path / "state")
    assert (config.memory, config.durability, config.log_level) == (False, "os", "debug")
    assert (config.allow_anonymous, config.password_file) == (True, "/etc/curier/users")
    options = config.options
    assert (options.sys_interval, options.connect_timeout, options.retry_interval) == (60.0, 2.5, 20.0)
    assert (options.max_packet_size, options.max_connections) == (2 * MIB, 12)
    assert options.session_expiry_maximum == 2 * 86_400
    assert (options.when_full, options.queue_qos0) == ("drop-oldest", True)
    assert options.response_information == "replies/{client_id}"
    assert type(options.retry_interval) is float
    config.check()


def test_every_option_of_the_core_can_be_set_to_its_default(tmp_path: Path) -> None:
    defaults = Options()
    lines = ["[limits]"]
    for name in LIMIT:
        value = getattr(defaults, name)
        shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
        lines.append(f"{name} = {shown}")
    assert len(lines) > 20
    options = load_text(tmp_path, "\n".join(lines)).options
    for name in LIMIT:
        assert getattr(options, name) == getattr(defaults, name)
        assert type(getattr(options, name)) is type(getattr(defaults, name))


def test_the_limits_are_the_attributes_of_the_options() -> None:
    options = Options()
    names = [
        name for name in dir(options) if not name.startswith("_") and not callable(getattr(options, name))
    ]
    assert sorted(LIMIT) == names


def test_limits_are_of_the_kind_that_the_core_has() -> None:
    options = Options()
    kinds = {bool: {FLAG}, float: {SECONDS}, int: {COUNT, SIZE, WHOLE_SECONDS}}
    for name, setting in LIMIT.items():
        default = getattr(options, name)
        if isinstance(default, str):
            assert setting.kind is TEXT or default in setting.kind.choices
        else:
            assert setting.kind in kinds[type(default)], name
        if name.endswith(("_bytes", "_size")):
            assert setting.kind is SIZE


def test_hooks_lie_beside_the_file(tmp_path: Path) -> None:
    hooks = load_text(tmp_path, 'hooks = ["own.py", "/etc/curier/other.py"]').hooks
    assert hooks == (str(tmp_path / "own.py"), "/etc/curier/other.py")


# -- what is said of a file that is wrong --


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("liste = []", "line 1: liste: there is no such key; did you mean listen?"),
        ("\n\nzzz = 1", "line 3: zzz: there is no such key; expected one of: listen, certificate, key"),
        ("[limit]\nmax_sessions = 1", "line 1: limit: there is no such key; did you mean limits?"),
        (
            "[limits]\n\n# a comment\nmax_sesions = 1",
            "line 4: limits.max_sesions: there is no such key; did you mean max_sessions?",
        ),
        ("max_packet_size = 5", "line 1: max_packet_size: this key belongs below [limits]"),
        ("[limits]\nlisten = []", "line 2: limits.listen: this key belongs at the top, above [limits]"),
        (
            "[limits]\nmax_packet_size = 'big'",
            "line 2: limits.max_packet_size: expected a whole number of bytes, "
            "or a size such as \"16 MiB\", got 'big'",
        ),
        (
            "limits.max_packet_size = '1.5 B'",
            "line 1: limits.max_packet_size: expected a whole number of bytes",
        ),
        (
            "limits = { max_sessions = -1 }",
            "line 1: limits.max_sessions: expected a whole number, 0 or more, got -1",
        ),
        ("limits = 3", "line 1: limits: expected a table, as below the line [limits], got 3"),
        ("[[limits]]", "line 1: limits: expected a table"),
        (
            "[limits]\nmax_sessions = true",
            "line 2: limits.max_sessions: expected a whole number, 0 or more, got true",
        ),
        (
            "[limits]\nmax_sessions = '5'",
            "line 2: limits.max_sessions: expected a whole number, 0 or more, got '5'",
        ),
        ("[limits]\nqueue_qos0 = 1", "line 2: limits.queue_qos0: expected true or false, got 1"),
        (
            "[limits]\nwhen_full = 'never'",
            "line 2: limits.when_full: expected one of drop-newest, drop-oldest, refuse",
        ),
        (
            "[limits]\nconnect_timeout = '5 m'",
            "line 2: limits.connect_timeout: expected a number of seconds, "
            'or a time such as "10 s" or "5 min", got \'5 m\'',
        ),
        ("[limits]\nconnect_timeout = nan", "line 2: limits.connect_timeout: expected a number of seconds"),
        ("[limits]\nconnect_timeout = inf", "line 2: limits.connect_timeout: expected a number of seconds"),
        ("[limits]\nconnect_timeout = -1", "line 2: limits.connect_timeout: expected a number of seconds"),
        (
            "[limits]\nkeep_alive_maximum = '500 ms'",
            "line 2: limits.keep_alive_maximum: expected a whole number of seconds, got '500 ms'",
        ),
        (
            "[limits]\nresponse_information = 1",
            "line 2: limits.response_information: expected text in quotes, got 1",
        ),
        ("[limits]\n\nreceive_maximum = 0", "line 3: limits.receive_maximum: must be from 1 to 65535, not 0"),
        (
            "[limits]\noutput_soft_limit = '1 GiB'",
            "limits.output_hard_limit: must be from 1073741824 to",
        ),
        (
            "sys_interval = 1\n[limits]\nsys_interval = 2",
            "line 3: limits.sys_interval: it is set above [limits] already; keep one of the two",
        ),
        ("listen = 'tcp://127.0.0.1'", "line 1: listen: expected a list of URLs"),
        ("listen = []", "line 1: listen: expected a list of URLs"),
        (
            "log_level = 'info'\nlisten = [\n  'tcp://127.0.0.1',\n  'ws://127.0.0.1',\n]",
            "line 2: listen: 'ws://127.0.0.1': expected a port, as in ws://127.0.0.1:8083/mqtt",
        ),
        ("data = ''", "line 1: data: expected a path in quotes, got ''"),
        ("hooks = 'own.py'", "line 1: hooks: expected a list of files, such as [\"hooks.py\"], got 'own.py'"),
        (
            "[web]\nviewers = 'ana'",
            "line 2: web.viewers: expected a list of users and groups of the broker, such as "
            '["ana", "@staff"], got \'ana\'',
        ),
        (
            "[web]\nadmins = ['ana', '@']",
            "line 2: web.admins: expected a list of users and groups of the broker, such as "
            '["ana", "@staff"]: each is named, and \'@\' is no name',
        ),
        (
            "[web]\noperators = ['*']",
            "line 2: web.operators: expected a list of users and groups of the broker, such as "
            '["ana", "@staff"]: each is named, and \'*\' is no name',
        ),
        ("[web]\nusers = ['ana']", "line 2: web.users: there is no such key"),
        ("password_file = 7", "line 1: password_file: expected a path in quotes, got 7"),
        ("memory = 'yes'", "line 1: memory: expected true or false, got 'yes'"),
        ("durability = 'none'", "line 1: durability: expected one of fsync, os, memory, got 'none'"),
        (
            "log_level = ['info']",
            "line 1: log_level: expected one of debug, info, warning, error, got ['info']",
        ),
        ("sys_interval = 'often'", "line 1: sys_interval: expected a number of seconds"),
        ("data = '''\nstate'''\nmemory = 1", "line 3: memory: expected true or false, got 1"),
        # what is no TOML
        ("memory = true\nlisten [", "line 2, column 8: Expected '=' after a key"),
        ("memory = true\nmemory = true", "line 2, column 14: Cannot overwrite a value"),
        ("listen = [\n'a'", "line 2, column 4: Unclosed array"),
    ],
)
def test_a_wrong_file_is_told_where_and_what(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    where, said = str(tmp_path / "broker.toml"), str(caught.value)
    assert said.startswith((f"{where}, {expected}", f"{where}: {expected}"))


def test_a_long_value_is_not_repeated_whole(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, f"durability = '{'x' * 10_000}'")
    assert len(str(caught.value)) < 300


def test_lines_are_counted_with_windows_line_ends(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 3: memory:"):
        load_text(tmp_path, "# one\r\n# two\r\nmemory = 1\r\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: there is no such file"):
        load(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# one\n# \xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.toml, line 2: expected UTF-8 text"):
        load(latin)


# -- settings that do not go together --


def test_data_and_memory_are_one_or_the_other() -> None:
    with pytest.raises(ConfigError, match="data and memory cannot both be"):
        Config(data="state", memory=True).check()


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_durability_is_not_of_memory(durability: Durability) -> None:
    with pytest.raises(ConfigError, match=f"durability {durability} and memory cannot both be"):
        Config(durability=durability, memory=True).check()
    Config(durability=durability, data="state").check()
    Config(durability="memory").check()


def test_options_are_checked_again_with_the_rest() -> None:
    config = Config()
    config.options.maximum_qos = 3
    with pytest.raises(ConfigError, match="maximum_qos must be from 0 to 2, not 3"):
        config.check()


# -- who may connect --

LOOPBACK = ("tcp://127.0.0.1:1883", "tcp://[::1]:1883", "tcp://localhost:0")
WIDE = ("tcp://127.0.0.1:1883", "tcp://0.0.0.0:1883")


@pytest.mark.parametrize(
    ("listen", "allow_anonymous", "password_file", "expected"),
    [
        (LOOPBACK, None, None, True),
        (LOOPBACK, True, None, True),
        (LOOPBACK, None, "users", False),
        (LOOPBACK, False, "users", False),
        (LOOPBACK, True, "users", True),
        (WIDE, True, None, True),
        (WIDE, None, "users", False),
        (WIDE, True, "users", True),
    ],
)
def test_anonymous_clients_are_for_loopback_unless_one_says_so(
    listen: tuple[str, ...], allow_anonymous: bool | None, password_file: str | None, expected: bool
) -> None:
    config = Config(listen=listen, allow_anonymous=allow_anonymous, password_file=password_file)
    config.check()
    assert {config.anonymous_may_connect(door) for door in config.doors()} == {expected}


@pytest.mark.parametrize(
    "url", ["tcp://0.0.0.0:1883", "tcp://[::]:1883", "tcp://10.0.0.1", "tcp://broker.example"]
)
def test_an_address_for_others_needs_a_decision(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(listen=(*LOOPBACK, url)).check()
    said = str(caught.value)
    assert said.startswith(f"{url} can be reached from other machines")
    assert "--password-file FILE" in said
    assert "--allow-anonymous" in said


def test_users_for_the_window_have_to_be_somewhere() -> None:
    named = Config(web_operators=("ana",))
    with pytest.raises(ConfigError, match=r"^operators below \[web\] \(--web-operators\) names users of the"):
        named.check()
    replace(named, password_file="users").check()


def test_nobody_at_all_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"nobody can connect: give --password-file"):
        Config(allow_anonymous=False).check()


# -- sizes and times --


@each(
    ("text", "expected"),
    [
        (0, 0),
        (512, 512),
        ("512", 512),
        ("512 B", 512),
        ("16 MiB", 16 * MIB),
        (" 16mib ", 16 * MIB),
        ("1.5 KiB", 1536),
        ("1 GiB", 2**30),
        ("2 kB", 2000),
        ("2.5 MB", 2_500_000),
        ("1 GB", 10**9),
        (4096.0, 4096),
    ],
)
def test_sizes(text: object, expected: int) -> None:
    size = parse_size(text)
    assert (size, type(size)) == (expected, int)


@each(
    ("text", "expected"),
    [
        (0, 0.0),
        (2.5, 2.5),
        ("2.5", 2.5),
        ("250 ms", 0.25),
        ("10 s", 10.0),
        ("10s", 10.0),
        ("5 min", 300.0),
        ("2 h", 7200.0),
        ("1 d", 86_400.0),
    ],
)
def test_times(text: object, expected: float) -> None:
    seconds = parse_seconds(text)
    assert (seconds, type(seconds)) == (expected, float)


@each(
    "value",
    ["", "MiB", "-1", "1 1", "1e3", "1.", ".5", "1 XB", "٣", True, -1, 10**400, None, [], float("nan"), 0.5],
)
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number of bytes"):
        parse_size(value)


@each("value", ["", "s", "-1 s", "5 m", "1 s 2", True, -0.1, 10**400, None, {}, float("inf")])
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="expected a number of seconds"):
        parse_seconds(value)


def test_lines_are_known_behind_values_of_many_lines(tmp_path: Path) -> None:
    """Whatever the value looks like, and however long it is."""
    urls = "\n".join(f'  "tcp://127.0.0.1:{port}",' for port in range(1, 5001))
    text = f"""
listen = [
{urls}
]  # all, of them,
log_level = "info" # a, b,
response_information = '''
log_level = "debug",
[limits],
'''
[limits]
max_sesions = 1
"""
    with pytest.raises(ConfigError, match="line 5005: response_information: this key belongs below"):
        load_text(tmp_path, text)
    without = re.sub(r"response_information.*'''\n", "", text, flags=re.DOTALL)
    with pytest.raises(ConfigError, match=r"line 5006: limits\.max_sesions: there is no such key"):
        load_text(tmp_path, without)


# -- the environment --


@each(
    ("variable", "text", "value"),
    [
        ("PASSWORD_FILE", "a#b $HOME 'c'", "a#b $HOME 'c'"),  # as it is
        ("PASSWORD_FILE", "007", "007"),
        ("RESPONSE_INFORMATION", "", ""),
        ("RESPONSE_INFORMATION", "true", "true"),
        ("LISTEN", "tcp://[::1]:0 tls://0.0.0.0", ("tcp://[::1]:0", "tls://0.0.0.0")),
        ("HOOKS", "/a b.py:c.py", ("/a b.py", "c.py")),
        ("MEMORY", "false", False),
        ("MAX_CONNECTIONS", "10_000", 10_000),
        ("MAX_PACKET_SIZE", "64 KiB", 65_536),
        ("MAX_PACKET_SIZE", "65536", 65_536),
        ("SYS_INTERVAL", "1 min", 60.0),
        ("WHEN_FULL", "refuse", "refuse"),
        ("WEB_ADMINS", "ana @staff", ("ana", "@staff")),
    ],
)
def test_a_variable_is_a_setting(variable: str, text: str, value: object) -> None:
    assert settings_of({f"CURIER_{variable}": text, "PATH": "/bin"}) == {variable.lower(): value}


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("MEMORY", "True", "expected true or false, got 'True'"),
        ("MEMORY", "", "expected true or false, got ''"),
        ("PASSWORD_FILE", "", "expected a path in quotes, got ''"),
        ("MAX_CONNECTIONS", "many", "expected a whole number, 0 or more, got 'many'"),
        ("MAX_CONNECTIONS", "9" * 5000, "expected a whole number, 0 or more, got '9999"),
        ("LISTEN", "", "expected a list of URLs"),
        ("LISTEN", "1883", "'1883': expected a URL"),
        ("PASSWORDFILE", "a", "there is no such setting; did you mean CURIER_PASSWORD_FILE?"),
    ],
)
def test_a_variable_that_is_wrong_is_named(variable: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings_of({f"CURIER_{variable}": text})
    assert str(raised.value).startswith(f"CURIER_{variable}: {expected}")


def test_a_variable_like_no_setting_does_nothing_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert settings_of({"CURIER_DB_PASSWORD": "secret"}) == {}
    assert caplog.messages == ["CURIER_DB_PASSWORD: there is no such setting, so it does nothing"]


def test_variables_of_the_project_s_own_tools_are_known(caplog: pytest.LogCaptureFixture) -> None:
    here = Path(__file__).parent
    files = [
        here.parent / "Makefile",
        here.parent / "setup.py",
        *here.parent.glob(".ci/run"),
        here / "conftest.py",
    ]
    names = set(re.findall(r"CURIER_[A-Z_]+[A-Z]", "".join(file.read_text() for file in files)))
    names.discard("CURIER_WEB")  # which is one of the settings
    assert {"CURIER_PURE", "CURIER_EXPECT", "CURIER_REQUIRE_PEERS"} <= names
    assert settings_of(dict.fromkeys(names, "1")) == {}
    assert not caplog.messages


def test_what_kubernetes_says_of_a_service_is_no_setting() -> None:
    names = (
        "SERVICE_HOST",
        "PORT",
        "PORT_1883_TCP_ADDR",
        "SERVICE_PORT_MQTT",
        "WEB_SERVICE_HOST",
        "WEB_PORT",
    )
    assert settings_of({f"CURIER_{name}": "tcp://10.0.0.1:1883" for name in names}) == {}
    assert not [one for one in ALL if "port" in one.split("_") or "service" in one.split("_")]


def test_every_setting_can_be_said_in_the_environment() -> None:
    """At its default, which changes nothing."""
    written = {LIMIT[name].variable: LIMIT[name].default.strip('`"').replace('"', "") for name in LIMIT}
    settings = settings_of(written)
    assert settings == {name: getattr(Options(), name) for name in LIMIT}


def test_settings_over_a_file(tmp_path: Path) -> None:
    """Where to listen, and where state is kept, is said as a whole."""

    def named(setting: Setting) -> str:
        return setting.option

    file = '[[listener]]\nurl = "tcp://127.0.0.1:4000"\n'
    over = with_settings(
        load_text(tmp_path, file), {"listen": ("tcp://127.0.0.1:0",), "max_sessions": 3}, named
    )
    assert [door.url for door in over.doors()] == ["tcp://127.0.0.1:0"]
    assert over.options.max_sessions == 3
    kept = load_text(tmp_path, 'data = "state"\ndurability = "os"')
    assert with_settings(kept, {"memory": True}, named).directory is None
    assert with_settings(kept, {"memory": True}, named).durability is None
    assert with_settings(load_text(tmp_path, "memory = true"), {"data": "d"}, named).directory == "d"
    assert with_settings(kept, {}, named) == kept
    assert {*TOP} <= {*Config.__dataclass_fields__}


def test_hooks_may_decide_who_connects_and_then_nobody_else_does() -> None:
    """Which is not known before they are read."""
    config = Config(listen=("tcp://0.0.0.0:1883",), hooks=("own.py",))
    config.check()
    assert not config.anonymous_may_connect(config.doors()[0])
    decides = replace(config, hooks_authenticate=True)
    decides.check()
    with pytest.raises(ConfigError, match="nothing says who may connect"):
        replace(config, hooks_authenticate=False).check()
    for name, both in (
        ("password_file", replace(decides, password_file="users")),
        ("allow_anonymous", replace(decides, allow_anonymous=True)),
    ):
        with pytest.raises(ConfigError, match=f"{name} and an authenticator in the hook files cannot"):
            both.check()
        replace(both, authenticators=(Asked(HOOKS),)).check()  # it is clear who comes when
    with pytest.raises(ConfigError, match="there is no authenticator in the hook files"):
        Config(authenticators=(Asked(HOOKS),)).check()


def test_workers_are_nodes_of_a_cluster_at_one_port() -> None:
    for config, why in (
        (Config(workers=2), "say that this is meant with --memory"),
        (Config(workers=2, data="x"), "data and workers cannot both be"),
        (Config(workers=2, durability="os", memory=True), "workers keep everything in memory"),
        (Config(workers=0), "from 1 to 64"),
        (Config(workers=2, memory=True, listen=("tcp://127.0.0.1:0",)), "has to have a number"),
        (Config(workers=2, memory=True, node_name="a b"), "letters, digits"),
        (Config(workers=0, cluster=("nats://a",)), "from 1 to 64"),
        (Config(workers=2, cluster=("nats://a",), listen=("tcp://127.0.0.1:0",)), "has to have a number"),
        (Config(workers=2, cluster=("nats://a",), listen=("unix:///x",)), "share a port"),
        (Config(cluster=("nats://a",), data="x"), "data and cluster"),
        (Config(cluster=("nats://a",), memory=True), "memory and cluster"),
        (Config(cluster=("nats://a",), durability="os"), "durability and cluster"),
        (Config(cluster=("http://a",)), "expected servers"),
    ):
        with pytest.raises(ConfigError, match=why):
            config.check()
    config = Config(workers=2, cluster=("nats://a",), node_name="n", listen=("tcp://127.0.0.1:1883",))
    config.check()
    assert config.directory is None
    first, second = config.of_worker(1), config.of_worker(2)
    assert first.membership is not None
    assert second.membership is not None
    assert (first.membership.node, second.membership.node) == ("n-1", "n-2")
    assert (first.web, second.web) == (None, "off")
    assert [door.reuse_port for door in second.doors()] == [True]
    second.check()


def test_workers_need_no_cluster_where_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(workers=2, memory=True, node_name="n", listen=("tcp://127.0.0.1:1883",))
    config.check()
    first, second = config.of_worker(1, 5), config.of_worker(2, 6)
    assert (first.part, second.part) == (WorkerSettings("n-1", 2, 5), WorkerSettings("n-2", 2, 6))
    assert first.membership is None
    assert second.directory is None
    assert (first.no_trace, second.no_trace) == (False, True)
    second.check()
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ConfigError, match="only Linux spreads"):
        config.check()
