"""nginx, HAProxy and Caddy with the very lines of docs/deployment.md, but for what is of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import require_peer
from tests.interop.proxy import Proxy
from tests.net.doors import authority, server_files

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
SITE = "/etc/ssl/mqtt.example.org"
HEALTH = "option httpchk GET /health"
COMPLAINT = re.compile(
    r"\[(error|crit|alert|emerg)\]|\[warn\](?!.*deprecated)|\[(WARNING|ALERT)\](?!.*succeeded)"
    r'|"level":"(error|panic|fatal)"'
)
"""What no proxy may have logged. (Newer ones of nginx write ``http2`` in another way, and say so.)"""


def blocks(language: str) -> list[str]:
    """The page's lines of this kind."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def changed(text: str, changes: Mapping[str, object]) -> str:
    """The lines, with what is of this machine; all that is to be changed has to be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, str(new))
    return text


@dataclass(frozen=True)
class Setup:
    """How a proxy is to be set up."""

    front: str = "wss"
    """How clients come, ws or wss."""
    back: str = "ws"
    """How it goes to the broker."""
    silence: int = 3600
    """After how many seconds of it a connection is ended."""
    page: int = 0
    """The port of a web server, for all that is not MQTT; with browsers HTTP/2 is spoken then."""

    def behind(self, language: str, line: str) -> str:
        """The lines of the page for the way to the broker that is wanted: for TLS, it has others in place of
        ``line``.
        """
        plain, secure = blocks(language)
        if self.back == "ws":
            return plain
        here = {"/etc/ssl/ca.pem": authority().file, "10.0.0.5:8084": "127.0.0.1:8083"}
        return changed(plain, {line: changed(secure, {**here, "broker.example.org": "localhost"})})


def nginx(folder: Path, setup: Setup, port: int, broker: int) -> Proxy:
    certificate, key = server_files()
    site = changed(
        setup.behind("nginx", "proxy_pass http://127.0.0.1:8083;"),
        {
            "443 ssl": f"127.0.0.1:{port} ssl http2" if setup.front == "wss" else f"127.0.0.1:{port}",
            f"{SITE}.pem": certificate,
            f"{SITE}.key": key,
            "127.0.0.1:8083": f"127.0.0.1:{broker}",
            "1h": f"{setup.silence}s",
        },
    )
    if setup.page:
        other = f"location / {{ proxy_pass http://127.0.0.1:{setup.page}; }}"
        site = changed(site, {"location /iot/ {": f"{other}\nlocation /iot/ {{"})
    return nginx_with(folder, site, port)


def nginx_with(folder: Path, site: str, port: int) -> Proxy:
    """nginx with this ``server``, which listens on ``port``."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}\n{site}\n}}\n"
    )
    return Proxy(folder, [require_peer("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(path)], port)


def haproxy(folder: Path, setup: Setup, port: int, broker: int, check: str = HEALTH) -> Proxy:
    certificate, key = server_files()
    both = folder / "both.pem"
    both.touch(0o600)
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    tls = f" ssl crt {both} alpn h2,http/1.1" if setup.front == "wss" else ""
    lines = changed(
        setup.behind("haproxy", "server broker 127.0.0.1:8083 check"),
        {
            f":443 ssl crt {SITE}.pem": f"127.0.0.1:{port}{tls}",
            "127.0.0.1:8083": f"127.0.0.1:{broker}",
            "tunnel 1h": f"tunnel {setup.silence}s",
            "timeout server 1m": "timeout server 1m\n    timeout check 20s",
            HEALTH: f"{check}\n    option log-health-checks",
        },
    )
    if setup.page:
        lines = changed(lines, {"frontend web": "frontend web\n    default_backend page"})
        lines += f"\nbackend page\n    server page 127.0.0.1:{setup.page}\n"
    path = folder / "haproxy.cfg"
    path.write_text(lines)
    return Proxy(folder, [require_peer("haproxy"), "-db", "-f", str(path)], port)


def caddy(folder: Path, setup: Setup, port: int, broker: int) -> Proxy:
    certificate, key = server_files()
    scheme = "https" if setup.front == "wss" else "http"
    site = changed(
        setup.behind("caddyfile", "reverse_proxy 127.0.0.1:8083"),
        {
            "mqtt.example.org {": f"{scheme}://127.0.0.1:{port} {{\nbind 127.0.0.1",
            f"tls {SITE}.pem {SITE}.key": f"tls {certificate} {key}" if setup.front == "wss" else "",
            "127.0.0.1:8083": f"127.0.0.1:{broker}",
        },
    )
    if setup.page:
        other = f"handle {{\nreverse_proxy 127.0.0.1:{setup.page}\n}}"
        site = changed(site, {"handle @mqtt {": f"{other}\nhandle @mqtt {{"})
    path = folder / "Caddyfile"
    path.write_text(f"{{\nadmin off\nauto_https off\nstorage file_system {folder}/caddy\n}}\n{site}")
    command = [require_peer("caddy"), "run", "--config", str(path), "--adapter", "caddyfile"]
    return Proxy(folder, command, port)


PROXIES = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}
