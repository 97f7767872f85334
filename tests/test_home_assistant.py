"""The app of Home Assistant: its files, as the Supervisor reads them, and its start, with a stub of that."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import httpx
import pytest
import yaml

import curier
from curier.config import load
from tests.ports import free_port

APP: Final = Path(__file__).parent.parent / "packaging" / "home-assistant"
TOKEN: Final = "the-token-of-the-supervisor"

KEYS: Final[dict[str, type]] = {
    **dict.fromkeys(("name", "version", "slug", "description", "startup", "backup", "watchdog"), str),
    **dict.fromkeys(("panel_icon",), str),
    **dict.fromkeys(("arch", "services", "discovery", "map"), list),
    **dict.fromkeys(("auth_api", "ingress", "ingress_stream"), bool),
    "ingress_port": int,
    **dict.fromkeys(("ports", "ports_description", "options", "schema"), dict),
}
"""Those that we use, of which the documentation of apps tells, and of what type they are."""
WORDS: Final[dict[str, set[str]]] = {
    "startup": {"initialize", "system", "services", "application", "once"},
    "backup": {"hot", "cold"},
}
REQUIRED: Final = {"name", "version", "slug", "description", "arch"}
OPTION: Final = re.compile(r"(bool|email|url|port|password|str|int|float|list\([^()]+(\|[^()]+)*\))\??")


def read(name: str) -> Any:
    return yaml.safe_load((APP / name).read_text())


def kinds(schema: Any) -> Iterator[str]:
    """Of all options, whatever they are in."""
    if isinstance(schema, str):
        yield schema
    else:
        for inner in schema.values() if isinstance(schema, dict) else schema:
            yield from kinds(inner)


class TestFiles:
    def test_every_key_is_one_that_there_is(self) -> None:
        config = read("config.yaml")
        assert REQUIRED <= config.keys()
        assert {name: type(value) for name, value in config.items()} == {name: KEYS[name] for name in config}
        assert [name for name, words in WORDS.items() if config[name] not in words] == []

    def test_what_it_wants_of_the_supervisor(self) -> None:
        config = read("config.yaml")
        assert re.fullmatch(r"[-_.A-Za-z0-9]+", config["slug"])
        assert set(config["arch"]) == {"aarch64", "amd64"} == set(read("build.yaml")["build_from"])
        assert config["services"] == ["mqtt:provide"]
        assert config["discovery"] == ["mqtt"]
        assert config["map"] == [{"type": "ssl"}]  # to be read only, unless more is said
        assert re.fullmatch(r"(https?|tcp)://\[HOST\]:(\d+|\[PORT:\d+\]).*", config["watchdog"])
        ports = config["ports"]
        assert {name: int(name.removesuffix("/tcp")) for name in ports} == ports
        assert ports.keys() == config["ports_description"].keys()
        assert config["ingress_port"] not in ports.values()

    def test_options(self) -> None:
        config = read("config.yaml")
        assert config["options"].keys() == config["schema"].keys()
        assert [kind for kind in kinds(config["schema"]) if not OPTION.fullmatch(kind)] == []

    @pytest.mark.parametrize("language", ["en", "ro"])
    def test_all_is_said_in(self, language: str) -> None:
        config, said = read("config.yaml"), read(f"translations/{language}.yaml")
        assert said["configuration"].keys() == config["schema"].keys()
        assert all(set(one) == {"name", "description"} for one in said["configuration"].values())
        assert said["network"].keys() == config["ports"].keys()

    def test_the_app_has_the_version_of_what_it_installs(self) -> None:
        assert read("config.yaml")["version"] == curier.__version__


def test_with_a_certificate_it_listens_by_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start = runpy.run_path(str(APP / "start.py"))["settings"]
    monkeypatch.setitem(start.__globals__, "SSL", tmp_path)
    options = read("config.yaml")["options"]
    for name in (options["certfile"], options["keyfile"]):
        (tmp_path / name).write_text("PEM")
    (tmp_path / "broker.toml").write_text(start(options))
    config = load(tmp_path / "broker.toml")
    assert config.listen == ("tcp://0.0.0.0:1883", "ws://0.0.0.0:1884")
    assert [one.url for one in config.listeners] == ["tls://0.0.0.0:8883", "wss://0.0.0.0:8884"]
    assert [one.certificate for one in config.listeners] == [str(tmp_path / "fullchain.pem")] * 2


class Supervisor(ThreadingHTTPServer):
    """Answers what apps ask; Home Assistant has the user ana."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.told: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Supervisor)
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            code = 403
        elif self.path == "/auth":
            users = {"ana": ("right", 200), "ghost": ("", 500)}
            password, code = users.get(said["username"], ("", 401))
            code = code if password in ("", said["password"]) else 401
        else:
            self.server.told.put((self.path, said))
            code = 200
        self.send_response(code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class App:
    """The app, started as its container does."""

    def __init__(self, folder: Path, supervisor: Supervisor) -> None:
        self.data = folder
        options = read("config.yaml")["options"]
        options |= {"logins": [{"username": "lamp", "password": "own"}], "admins": ["ana"]}
        (folder / "options.json").write_text(json.dumps(options))
        self.ports = [free_port() for _ in range(5)]
        environment = os.environ | {
            "APP_DATA": str(folder),
            "APP_SSL": str(folder),
            "APP_SUPERVISOR": supervisor.url,
            "APP_ADDRESS": "127.0.0.1",
            "APP_PORTS": " ".join(map(str, self.ports)),
            "APP_PROXIES": "127.0.0.1 172.30.32.1",
            "SUPERVISOR_TOKEN": TOKEN,
        }
        environment.pop("CURIER_WEB", None)  # the tests have none, unless they ask for one
        self.process = subprocess.Popen([sys.executable, APP / "start.py"], env=environment)
        self.told = dict(supervisor.told.get(timeout=60) for _ in range(2))

    async def greets(self, user: str | None, password: str | None) -> str:
        """Whether somebody gets in; "" or why not."""
        url = f"mqtt://127.0.0.1:{self.ports[0]}"
        try:
            async with curier.connect(url, username=user, password=password, reconnect=None):
                return ""
        except curier.ConnectRefused as error:
            return curier.ReasonCode(error.reason_code).name


@pytest.fixture(scope="module")
def app(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("data"), supervisor)
    yield app
    app.process.send_signal(signal.SIGTERM)
    assert app.process.wait(60) == 0


async def test_others_are_told_where_it_is_and_as_whom_they_come(app: App) -> None:
    service, found = app.told["/services/mqtt"], app.told["/discovery"]
    assert found["service"] == "mqtt"
    assert [one["port"] for one in (service, found["config"])] == [app.ports[0]] * 2
    assert (service["username"], found["config"]["username"]) == ("addons", "homeassistant")
    assert service["password"] != found["config"]["password"]
    for one in (service, found["config"]):
        assert await app.greets(one["username"], one["password"]) == ""
        assert await app.greets(one["username"], "other") == "BAD_USER_NAME_OR_PASSWORD"
    assert (app.data / "own_users.json").stat().st_mode & 0o077 == 0


async def test_users_of_home_assistant_get_in_and_nobody_else(app: App) -> None:
    assert await app.greets("ana", "right") == ""
    assert await app.greets("lamp", "own") == ""
    assert await app.greets("ana", "wrong") == "BAD_USER_NAME_OR_PASSWORD"
    assert await app.greets("lamp", "right") == "BAD_USER_NAME_OR_PASSWORD"
    assert await app.greets("nobody", "right") == "BAD_USER_NAME_OR_PASSWORD"
    assert await app.greets("ghost", "right") == "SERVER_UNAVAILABLE"
    assert await app.greets(None, None) == "NOT_AUTHORIZED"


@pytest.mark.parametrize(("user", "password", "code"), [("ana", "right", 204), ("ana", "wrong", 401)])
def test_pages_in_the_sidebar(app: App, user: str, password: str, code: int) -> None:
    headers = {
        "Host": "homeassistant.local:8123",
        "X-Ingress-Path": "/api/hassio_ingress/abc",
        "X-Forwarded-For": "192.0.2.9, 172.30.32.1",
        "X-Forwarded-Proto": "https",
    }
    with httpx.Client(base_url=f"http://127.0.0.1:{app.ports[4]}", headers=headers, timeout=100) as client:
        page = client.get("/")
        assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
        said = {"user": user, "password": password}
        answer = client.post("/api/v1/session/user", json=said, headers={"X-Curier": "1"})
        assert answer.status_code == code
        if code == 204:
            assert "secure" in answer.headers["set-cookie"].lower()  # as the Supervisor says it was asked
            cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
            assert client.get("/api/v1/self", headers=cookie).json() == {"name": user, "role": "admin"}
