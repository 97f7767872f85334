"""Start the broker of the app, as its options say, and tell Home Assistant of it when it listens.

Home Assistant connects as ``homeassistant``, other apps as ``addons``, with passwords that are made at the
first start.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.error import URLError
from urllib.request import Request, urlopen

HERE: Final = Path(__file__).parent
DATA: Final = Path(os.environ.get("APP_DATA", "/data"))
SSL: Final = Path(os.environ.get("APP_SSL", "/ssl"))
SUPERVISOR: Final = os.environ.get("APP_SUPERVISOR", "http://supervisor")
ADDRESS: Final = os.environ.get("APP_ADDRESS", "0.0.0.0")
PORTS: Final = os.environ.get("APP_PORTS", "1883 1884 8883 8884 9883").split()
PROXIES: Final = os.environ.get("APP_PROXIES", "172.30.32.1 172.30.32.2").split()
"""By whom the pages are asked, one behind the other: Home Assistant, its Supervisor. Who guesses at a login
is told from others by what these say of him.
"""
OWN_USERS: Final = ("homeassistant", "addons")


def settings(options: dict[str, Any]) -> str:
    """The configuration of the broker; a TOML string of this kind is one of JSON, too."""
    tcp, ws, tls, wss, web = PORTS
    certificate, key = SSL / options["certfile"], SSL / options["keyfile"]
    listen = [f"tcp://{ADDRESS}:{tcp}", f"ws://{ADDRESS}:{ws}"]
    lines = [
        f"data = {json.dumps(str(DATA / 'broker'))}",
        f"listen = {json.dumps(listen)}",
        f"hooks = {json.dumps([str(HERE / 'users.py')])}",
        f"log_level = {json.dumps(options['log_level'])}",
        "",
        "[web]",
        f"url = {json.dumps(f'http://{ADDRESS}:{web}')}",
        'hosts = ["*"]  # whatever Home Assistant is called: it has let in who asks',
        f"trusted_proxies = {json.dumps(PROXIES)}",
        'viewers = ["@homeassistant"]',
        f"admins = {json.dumps(options['admins'])}",
    ]
    if certificate.exists() and key.exists():
        for url in (f"tls://{ADDRESS}:{tls}", f"wss://{ADDRESS}:{wss}"):
            lines += ["", "[[listener]]", f"url = {json.dumps(url)}"]
            lines += [f"certificate = {json.dumps(str(certificate))}", f"key = {json.dumps(str(key))}"]
    else:
        print(f"no TLS: {certificate} and {key} are not both there", flush=True)
    return "\n".join(lines) + "\n"


def own_users() -> dict[str, str]:
    """The passwords of ``OWN_USERS``; others may have been given them, so they stay what they were."""
    file = DATA / "own_users.json"
    if not file.exists():
        new = file.with_suffix(".new")
        new.touch(0o600)
        new.write_text(json.dumps({name: secrets.token_urlsafe(32) for name in OWN_USERS}))
        new.rename(file)
    users: dict[str, str] = json.loads(file.read_text())
    return users


def tell(path: str, what: dict[str, Any]) -> None:
    """Tell the Supervisor something. It may be told again at the next start, so a failure is no end."""
    headers = {
        "Authorization": f"Bearer {os.environ['SUPERVISOR_TOKEN']}",
        "Content-Type": "application/json",
    }
    try:
        with urlopen(Request(SUPERVISOR + path, json.dumps(what).encode(), headers), timeout=30):
            print(f"told Home Assistant by {path}", flush=True)
    except (URLError, OSError) as error:
        print(f"could not tell Home Assistant by {path}: {error}", file=sys.stderr, flush=True)


def announce(users: dict[str, str]) -> None:
    """Tell Home Assistant and other apps where the broker is, and as whom they come."""
    where: dict[str, Any] = {"host": socket.gethostname(), "port": int(PORTS[0]), "ssl": False}
    where["protocol"] = "5"
    tell("/services/mqtt", {**where, "protocol": "3.1.1", "username": "addons", "password": users["addons"]})
    found = {**where, "username": "homeassistant", "password": users["homeassistant"]}
    tell("/discovery", {"service": "mqtt", "config": found})


def run() -> int:
    """Run the broker until it ends; how it ended."""
    users = own_users()
    configuration = DATA / "broker.toml"
    configuration.write_text(settings(json.loads((DATA / "options.json").read_text())))
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(f"{folder}/notices")
        notices.settimeout(0.5)
        environment = os.environ | {"NOTIFY_SOCKET": f"{folder}/notices", "XDG_STATE_HOME": str(DATA)}
        command = [sys.executable, "-m", "curier", "broker", "--config", str(configuration)]
        broker = subprocess.Popen(command, env=environment)
        signal.signal(signal.SIGTERM, lambda number, frame: broker.terminate())
        while broker.poll() is None:
            try:
                if b"READY=1" in notices.recv(4096):
                    announce(users)
                    break
            except TimeoutError:
                pass
        return broker.wait()


if __name__ == "__main__":
    sys.exit(run())
