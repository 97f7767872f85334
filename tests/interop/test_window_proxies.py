"""The window behind nginx with the lines of docs/api.md, below a path which nginx takes away or leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from curier.web.libraries import missing
from tests.conftest import require_peer
from tests.interop.chromium import Chromium, Tab
from tests.interop.pages import WATCHED, Window, click, go, shows
from tests.interop.web_proxies import changed, nginx_with
from tests.net.doors import server_files, trusting
from tests.ports import free_port
from tests.waiting import wait_until
from tests.web.asking import serving

[LINES] = re.findall(
    r"^```nginx\n(.*?)^```$",
    (Path(__file__).parents[2] / "docs" / "api.md").read_text(),
    re.DOTALL | re.MULTILINE,
)


class Front:
    """A window, and nginx in front of it."""

    def __init__(self, folder: Path, is_kept: bool, scheme: str = "http", is_trusted: bool = False) -> None:
        proxies = (ip_network("127.0.0.1"),) if is_trusted else ()
        self.window = Window("/curier" if is_kept else "", proxies)
        port = free_port()
        inner = self.window.web.urls[0].removeprefix("http://")
        lines = changed(LINES, {"http://127.0.0.1:9883/": f"http://{inner}{'' if is_kept else '/'}"})
        plain = f"location /plain/ {{ proxy_pass http://{inner}/; proxy_set_header Host $http_host; }}"
        certificate, key = server_files()
        tls = f"ssl_certificate {certificate};\nssl_certificate_key {key};\n"
        door = f"listen 127.0.0.1:{port} ssl;\n{tls}" if scheme == "https" else f"listen 127.0.0.1:{port};\n"
        self.proxy = nginx_with(folder, f"server {{\n{door}{lines}{plain}\n}}", port)
        self.url = f"{scheme}://127.0.0.1:{port}/curier/"

    def link(self) -> str:
        """By the proxy."""
        return self.url + self.window.link().rpartition("/")[2]

    def close(self) -> None:
        self.proxy.close()
        self.window.stop()


@pytest.fixture(scope="module", params=["taken away", "kept"])
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    require_peer("nginx")
    made = Front(tmp_path_factory.mktemp("nginx"), request.param == "kept")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def client(front: Front) -> Iterator[httpx.Client]:
    """Logged in, by the link."""
    with httpx.Client(base_url=front.url, trust_env=False, follow_redirects=True, timeout=100) as made:
        answer = made.get(front.link())
        assert (answer.status_code, str(answer.url)) in ((200, front.url), (503, front.url))  # 503: not built
        yield made


def test_it_is_reached_by_the_path_and_its_cookie_goes_no_further(front: Front, client: httpx.Client) -> None:
    assert client.get("api/v1/self").json() == {"name": "owner", "role": "admin"}
    assert client.get("api/v1/openapi.json").json()["servers"] == [{"url": "../v1"}]
    assert client.get("metrics").status_code == client.get("readyz").status_code == 200
    [cookie] = client.cookies.jar
    assert cookie.path == ("/curier/" if front.window.prefix else "/")
    direct = httpx.get(f"{front.window.web.urls[0]}/healthz", trust_env=False, timeout=100)
    assert direct.status_code == 200  # as a check of health asks, beside the proxy


def test_the_path_alone_leads_to_the_slash(front: Front) -> None:
    answer = httpx.get(front.url.rstrip("/"), trust_env=False, timeout=100)
    assert answer.status_code in (301, 308)
    assert httpx.URL(front.url).join(answer.headers["location"]).path == "/curier/"


@pytest.mark.parametrize("path", ["/curier/", "/plain/"])
def test_events_come_at_once(front: Front, client: httpx.Client, path: str) -> None:
    """Of the second, nginx asks by HTTP/1.0, as it does unless told otherwise: so it would keep them."""
    front_of = front.url.removesuffix("/curier/")
    headers = {
        "accept-encoding": "gzip",
        "cookie": "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar),
    }
    with client.stream("GET", f"{front_of}{path}api/v1/flows?topic=by/proxy", headers=headers) as stream:
        assert "content-encoding" not in stream.headers
        pieces = stream.iter_bytes()
        assert next(pieces).startswith(b"retry: 2000\nevent: hello\n")
        publish = {"topic": "by/proxy", "text": "x"}
        assert client.post("api/v1/publish", json=publish, headers={"x-curier": "1"}).status_code == 200
        assert b"event: flow" in next(pieces)


def test_something_is_changed_and_other_sites_may_not(front: Front, client: httpx.Client) -> None:
    body = {"topic": "by/proxy", "text": "x", "retain": True}
    origin = front.url.removesuffix("/curier/")
    answer = client.post("api/v1/publish", json=body, headers={"x-curier": "1", "origin": origin})
    assert answer.status_code == 200, answer.text
    other = {"x-curier": "1", "origin": "http://elsewhere.example"}
    assert client.post("api/v1/publish", json=body, headers=other).status_code == 403
    assert client.get("api/v1/self", headers={"host": "elsewhere.example"}).status_code == 421


def test_a_websocket_passes(front: Front, client: httpx.Client) -> None:
    cookie = "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar)
    url = front.url.replace("http", "ws") + "mqtt"
    how: dict[str, Any] = {"subprotocols": [Subprotocol("mqtt")], "proxy": None, "open_timeout": 100}
    how["additional_headers"] = {"cookie": cookie}
    origin = Origin(front.url.removesuffix("/curier/"))
    with connect(url, origin=origin, **how) as socket:
        socket.send(bytes.fromhex("101000044d5154540402003c0004") + b"page")
        assert socket.recv(100) == bytes.fromhex("20020000")
    with connect(url, origin=Origin("http://elsewhere.example"), **how) as socket:
        with pytest.raises(ConnectionClosed):
            socket.recv(100)


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "not trusted"])
def test_what_a_proxy_says_of_a_browser_counts_where_it_is_trusted(tmp_path: Path, is_trusted: bool) -> None:
    """Where the browser is, whatever it says of that itself, and that its cookie is for https alone."""
    require_peer("nginx")
    front = Front(tmp_path, False, "https", is_trusted)
    try:
        way = httpx.HTTPTransport(verify=trusting(), local_address="127.0.0.7")
        lies = {"x-forwarded-for": "192.0.2.1", "x-curier": "1"}
        with httpx.Client(base_url=front.url, transport=way, headers=lies, timeout=100) as browser:
            answer = browser.get(front.link())
            cookie = answer.headers["set-cookie"]
            assert ("secure" in cookie.lower()) == is_trusted
            cookies = {"cookie": cookie.partition(";")[0]}
            body = {"topic": "by/proxy", "text": "x", "retain": True}
            assert browser.post("api/v1/publish", json=body, headers=cookies).status_code == 200
            url = front.url.replace("https", "wss") + "mqtt"
            how: dict[str, Any] = {
                "origin": Origin(front.url.removesuffix("/curier/")),
                "subprotocols": [Subprotocol("mqtt")],
                "additional_headers": cookies | lies,
                "source_address": ("127.0.0.7", 0),
                "ssl": trusting(),
                "proxy": None,
                "open_timeout": 100,
            }
            with connect(url, **how) as socket:
                socket.send(bytes.fromhex("101000044d5154540402003c0004") + b"page")
                assert socket.recv(100) == bytes.fromhex("20020000")
                [row] = browser.get("api/v1/clients", headers=cookies).json()["clients"]
        seen = "127.0.0.7" if is_trusted else "127.0.0.1"
        assert row["address"].rpartition(":")[0] == seen
        [published] = [line for line in front.window.audited if "by/proxy" in line]
        assert f"owner (admin) at {seen}" in published
    finally:
        front.close()


def test_the_pages_work_there(front: Front, browser: Chromium) -> None:
    if missing():
        require_peer("the libraries of the pages (make .venv/.pages)")
    tab = Tab(browser, "about:blank")
    tab.call("Page.addScriptToEvaluateOnNewDocument", source=WATCHED)
    tab.call("Page.navigate", url=front.link())
    shows(tab, "Overview")
    go(tab, "wire")
    shows(tab, "Nothing has gone by since you look.")
    wait_until(lambda: serving(front.window.web).wire._readers == 1)
    go(tab, "tryit")
    click(tab, "Connect")
    wait_until(lambda: tab.run("document.querySelectorAll('.client .on').length") == 2)
    assert tab.run("location.pathname") == "/curier/"
    assert tab.run("window.heard") == []
    tab.close()
