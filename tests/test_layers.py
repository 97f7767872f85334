"""What may import what, what the core may never import, and how long things may grow."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "curier"

CORE = {"codec", "topics", "session", "protocol", "broker"}
BANNED_IN_CORE = {"asyncio", "socket", "ssl", "select", "threading", "time", "random", "os", "logging"}
HOT = {"codec/publish.py", "topics/routes.py", "broker/fast_lane.py"}  # may be long; each says why at its top
FILE_LINES = 600
FUNCTION_LINES = 60

# Each layer's own modules, errors and types are always allowed; "*" is anything but testing.
ALLOWED: dict[str, set[str]] = {
    "errors": {"types"},
    "documented": set(),
    "frozen": set(),
    "types": {"frozen"},
    "loglines": set(),
    "payloads": set(),
    "places": set(),
    "version": set(),
    "unloaded": set(),
    "rereading": set(),
    "dynamic_security": set(),
    "greetings": set(),
    "codec": set(),
    "topics": {"codec"},
    "session": {"codec"},
    "protocol": {"session", "codec", "greetings"},
    "broker": {"protocol", "session", "topics", "codec", "places", "version"},
    "store": {"session.records", "session.message", "topics.filters", "codec"},
    "auth": {
        "dynamic_security",
        "loglines",
        "places",
        "rereading",
        "listeners",
        "session.message",
        "broker.hooks",
    },
    "permissions": {
        "dynamic_security",
        "topics.filters",
        "places",
        "broker.judging",
        "loglines",
        "rereading",
        "strict_toml",
    },
    "net": {"loglines", "listeners", "places", "rereading", "greetings", "broker", "codec"},
    "client": {"frozen", "protocol", "session", "topics", "codec", "store", "net.websocket", "trace"},
    "loadgen": {"codec", "net.frames", "net.websocket"},
    "trace": {
        "frozen",
        "codec",
        "topics.filters",
        "session.message",
        "protocol.connection",
        "broker.hooks",
        "broker.model",
        "broker.witness",
        "greetings",
        "loglines",
        "net.frames",
        "net.tape",
        "payloads",
        "places",
    },
    "faults": {"frozen", "codec", "topics.filters", "trace", "strict_toml"},
    "proxy": {
        "client.dial",
        "client.dialing",
        "client.urls",
        "faults",
        "frozen",
        "codec",
        "listeners",
        "loglines",
        "net",
        "trace",
    },
    "laboratory": {"broker.model", "faults", "loglines", "net", "trace"},
    "cluster": {
        "broker.effects",
        "broker.model",
        "frozen",
        "protocol.connection",
        "session.message",
        "session.records",
        "topics",
    },
    "jetstream": {"cluster", "frozen", "loglines"},
    "local": {"cluster", "jetstream.wire", "loglines"},
    "cluster_settings": set(),
    "cluster_view": set(),
    "node_view": {"cluster", "cluster_view"},
    "member_watch": {"cluster", "cluster_settings", "cluster_view", "jetstream", "node_view"},
    "worker_watch": {"cluster", "cluster_settings", "cluster_view", "local", "node_view"},
    "member": {
        "broker.core",
        "broker.effects",
        "broker.model",
        "broker.retained_set",
        "cluster",
        "cluster_view",
        "jetstream.wire",
        "loglines",
        "net.turn",
        "session.records",
        "store.base",
    },
    "member_on_nats": {
        "cluster",
        "cluster_settings",
        "cluster_view",
        "jetstream",
        "loglines",
        "member",
        "member_watch",
        "store.base",
    },
    "member_of_workers": {"cluster", "cluster_settings", "local", "member", "worker_watch"},
    "draining": {"codec.constants", "loglines", "server"},
    "restored": {"broker.restoring", "loglines", "net.turn", "store.base"},
    "tour": {"faults", "frozen", "testing", "trace"},
    "verify": {"client.dial", "client.urls", "codec", "frozen"},
    "strict_toml": set(),
    "acme_settings": set(),
    "listeners": {"acme_settings"},
    "acme": {"acme_settings", "listeners", "loglines"},
    "config_listeners": {"listeners", "settings", "strict_toml"},
    "config_bans": {"auth.bans", "settings", "strict_toml"},
    "config_authenticators": {"auth", "strict_toml"},
    "settings": {"broker.options", "cluster_settings", "listeners", "loglines", "strict_toml"},
    "mosquitto_conf": {"listeners", "settings"},
    "config": {
        "broker.options",
        "auth.bans",
        "cluster_settings",
        "config_authenticators",
        "config_bans",
        "config_listeners",
        "listeners",
        "settings",
        "strict_toml",
        "config_webhooks",
        "config_bridges",
        "bridge",
        "webhooks",
    },
    "logs": {"loglines", "broker.hooks", "broker.model", "broker.mounting", "session.message"},
    "auditing": {
        "loglines",
        "auth.bans",
        "broker.buckets",
        "broker.hooks",
        "broker.model",
        "protocol.connection",
    },
    "banning": {"auditing", "loglines", "auth", "broker.hooks", "broker.model"},
    "asking": {
        "banning",
        "inside",
        "loglines",
        "auth",
        "broker.effects",
        "broker.model",
        "net.tls",
        "net.turn",
    },
    "broker_arguments": {
        "auth.base",
        "broker.hooks",
        "broker.options",
        "codec",
        "listeners",
        "net.doors",
        "session.message",
    },
    "doorways": {"auth.at_doors", "broker.entrances", "listeners", "net"},
    "mounted": {
        "auth.at_doors",
        "auth.base",
        "broker.core",
        "broker.entrances",
        "listeners",
        "loglines",
        "net.doors",
        "net.messages",
        "net.turn",
        "net.upgrade",
        "places",
    },
    "asgi": {"client", "net.messages", "server"},
    "optional_parts": {
        "acme",
        "cluster_settings",
        "listeners",
        "member",
        "member_of_workers",
        "member_on_nats",
        "net",
        "store",
    },
    "server": {"*"},
    "inside": {"broker.entrances", "broker.judging", "broker.model", "listeners", "net"},
    "bridge": {"client", "codec", "topics.filters", "frozen", "inside", "loglines", "server"},
    "config_bridges": {"bridge", "client", "strict_toml"},
    "webhooks": {
        "auth.calls",
        "broker.hooks",
        "broker.model",
        "session.message",
        "topics.filters",
        "loglines",
    },
    "config_webhooks": {"webhooks", "strict_toml"},
    "web": {
        "auth",
        "banning",
        "broker",
        "cluster_view",
        "draining",
        "permissions",
        "rereading",
        "inside",
        "listeners",
        "doorways",
        "faults.line",
        "loglines",
        "net.certificates",
        "net.doors",
        "net.host",
        "net.messages",
        "net.renewal",
        "net.upgrade",
        "places",
        "server",
        "session.message",
        "session.outgoing",
        "settings",
        "store.backing_up",
        "topics",
        "tour",
        "trace",
        "codec",
        "version",
    },
    "hook_files": {"auth.base", "broker.hooks", "server"},
    "top": {"loglines", "rereading", "web"},
    "cli": {
        "",
        "bridge",
        "cluster_settings",
        "config_bridges",
        "jetstream",
        "local",
        "auditing",
        "frozen",
        "rereading",
        "server",
        "client",
        "loglines",
        "payloads",
        "mosquitto_conf",
        "doorways",
        "config",
        "config_authenticators",
        "settings",
        "listeners",
        "strict_toml",
        "auth",
        "hook_files",
        "permissions",
        "broker.judging",
        "store",
        "net",
        "loadgen",
        "topics.filters",
        "trace",
        "faults",
        "proxy",
        "top",
        "web",
        "tour",
        "laboratory",
        "verify",
        "webhooks",
    },
    "": {"*"},
    "__main__": {"cli", "unloaded"},
    "testing": {"*"},
}

# The floors of a package, from the bottom: each module or package there may import what stands before it.
FLOORS: dict[str, list[str]] = {
    "broker": [
        # plain things that know no client
        *("options", "deadlines", "buckets", "rates", "entrances", "judging", "layouts", "mounting"),
        # the data model, and what names it
        *("model", "faults", "effects", "witness", "hooks", "routing", "state"),
        # one connection: what is told of it, what it may do, what it is sent
        *("telling", "shares", "lanes", "permissions", "memory", "unfinished", "pacing", "output"),
        # messages
        *(
            "queueing",
            "answers",
            "delivery",
            "spreading",
            "sharing",
            "stalling",
            "outbound",
            "retaining",
            "retained_set",
            "publishing",
            "finding",
            "special",
            "blocks",
            "trains",
            "fetching",
            "fast_lane",
            "inbound",
        ),
        # clients: what they subscribe to, their sessions, their coming and going
        *("client_ids", "connack", "shapes", "attaching", "subscribing", "rejudging", "piecemeal"),
        *("leftovers", "keeping", "watches", "connecting"),
        # what the broker does by itself
        *("restoring", "roaming", "sys_topics", "late_records"),
        # the face
        *("connection", "repacing", "picking", "core", "__init__"),
    ],
    "client": [
        # plain data, and the tools of dialling
        *("urls", "dialing", "arguments", "session", "settings", "events", "logged"),
        *("signatures", "scram"),
        *("received", "overlaps", "naming", "misnamed"),
        # behaviour
        *("dial", "link", "connecting", "keeper", "outbox", "suspicion"),
        *("router", "buffers", "watch", "subscriptions", "streams"),
        # the face
        *("life", "publishing", "requests", "client", "loop_thread", "handover", "sync", "__init__"),
    ],
}


def layer_of(module: str) -> str:
    return module.split(".")[0]


def imports_of(tree: ast.Module) -> list[str]:
    """Return every imported module, whole; of `from m import n`, `m.n`: n may be a module."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def may_import(layer: str, target: str) -> bool:
    """Tell whether the layer may import `curier.<target>`."""
    if layer_of(target) == "testing":
        return layer in ("testing", "tour")
    allowed = ALLOWED[layer]
    if "*" in allowed or (layer_of(target) == layer and layer != ""):
        return True
    if layer not in {"errors", "types"} and layer_of(target) in {"errors", "types"}:
        return True
    if target == "" or layer_of(target) not in ALLOWED:  # the face itself, or a name of it
        return "" in allowed
    return any(f"{target}.".startswith(f"{name}.") for name in allowed if name)


def faults(path: str, text: str) -> list[str]:
    """Return what the module at `path`, relative to src/curier, does against the rules."""
    layer = path.split("/")[0].removesuffix(".py").replace("__init__", "")
    if layer not in ALLOWED:
        return [f"{path}: no layer {layer!r} in the table"]
    tree = ast.parse(text)
    found = []
    for name in imports_of(tree):
        if layer_of(name) == "curier":
            if not may_import(layer, name.partition(".")[2]):
                found.append(f"{path}: {layer} may not import {name}")
        elif layer in CORE and layer_of(name) in BANNED_IN_CORE:
            found.append(f"{path}: the core may not import {name}")
    if path in HOT:
        return found
    if (lines := text.count("\n")) > FILE_LINES:
        found.append(f"{path}: {lines} lines, {FILE_LINES} allowed")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{path}: {node.name} has {lines} lines, {FUNCTION_LINES} allowed")
    return found


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the modules that import each other, by way of others or not; each group in order."""
    above = {module: reached(module, imports) for module in imports}
    groups = {
        tuple(sorted(other for other in above[module] if module in above[other]))
        for module in imports
        if module in above[module]
    }
    return [list(group) for group in sorted(groups)]


def reached(module: str, imports: dict[str, set[str]]) -> set[str]:
    """Return what `module` imports, and what that imports."""
    seen: set[str] = set()
    ahead = {module}
    while ahead:
        ahead = {name for one in ahead for name in imports[one] if name in imports} - seen
        seen |= ahead
    return seen


def modules() -> dict[str, set[str]]:
    """Return the modules of curier, each with all that it imports, for types or in a function too."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        names = imports_of(ast.parse(path.read_text()))
        # `from m import n` imports m whatever n is.
        found[".".join(parts).removesuffix(".__init__")] = {
            part for name in names for part in (name, name.rpartition(".")[0])
        }
    return found


def test_a_circle_is_found() -> None:
    imports = {"a": {"b"}, "b": {"c", "json"}, "c": {"a", "d"}, "d": set[str](), "e": {"e", "f"}, "f": {"d"}}
    assert circles(imports) == [["a", "b", "c"], ["e"]]


def test_no_modules_import_each_other() -> None:
    """Neither by way of others, nor for types."""
    assert circles(modules()) == []


def climbs(path: str, text: str) -> list[str]:
    """Return what the module at `path` imports from floors of its package that are not below it."""
    package, _, inner = path.partition("/")
    if package not in FLOORS or not inner:
        return []
    floors = FLOORS[package]
    here = inner.partition("/")[0].removesuffix(".py")
    if here not in floors:
        return [f"{path}: has no floor in {package}"]
    below = {here, *floors[: floors.index(here)]} if "/" in inner else {*floors[: floors.index(here)]}
    found = []
    for name in imports_of(ast.parse(text)):
        if f"{name}.".startswith(f"curier.{package}."):
            target = f"{name}.".split(".")[2]
            if target not in below:
                found.append(f"{path}: may not import {name}, which is not below it")
    return found


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("client/router.py", "from curier.client.streams import Stream", "may not import"),
        ("client/naming.py", "if T:\n    from curier.client.naming import Names", "may not import"),
        ("client/dialing/tcp.py", "import curier.client.dial", "may not import curier.client.dial"),
        ("client/link.py", "from curier.client import connect", "may not import curier.client.connect"),
        ("client/new.py", "", "has no floor in client"),
        ("broker/model.py", "if T:\n    from curier.broker.state import BrokerState", "may not import"),
        ("broker/delivery.py", "from curier.broker import connecting", "may not import"),
        ("broker/connection.py", "from curier.broker.core import BrokerCore", "may not import"),
    ],
)
def test_the_floors_can_be_broken(path: str, text: str, said: str) -> None:
    (fault,) = climbs(path, text)
    assert said in fault


def test_every_module_imports_only_from_the_floors_below_it() -> None:
    kept = "from curier.client.dialing.talk import Talk\nfrom curier.client.urls import ServerUrl"
    assert climbs("client/dialing/proxy.py", kept) == []
    found = [
        fault
        for path in sorted(SOURCE.rglob("*.py"))
        for fault in climbs(path.relative_to(SOURCE).as_posix(), path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("errors.py", "import curier.codec", "errors may not import curier.codec"),
        ("codec/decode.py", "from curier.session import journal", "codec may not import"),
        ("codec/decode.py", "from curier import topics", "codec may not import curier.topics"),
        ("codec/decode.py", "from curier import Client", "codec may not import curier.Client"),
        ("topics/tree.py", "from time import monotonic", "the core may not import time.monotonic"),
        ("broker/core.py", "def f():\n    import os.path", "the core may not import os.path"),
        ("broker/core.py", "import curier.server", "broker may not import curier.server"),
        ("auth/base.py", "from curier.broker.core import BrokerCore", "auth may not import"),
        ("cli/pub.py", "from curier.broker.core import BrokerCore", "cli may not import"),
        ("server.py", "from curier.testing import Pair", "server may not import curier.testing.Pair"),
        ("somewhere/new.py", "", "no layer 'somewhere'"),
        ("net/tcp.py", "x = 1\n" * 601, "601 lines, 600 allowed"),
        ("net/tcp.py", "async def f():\n" + "    x = 1\n" * 60, "f has 61 lines, 60 allowed"),
    ],
)
def test_the_rules_can_be_broken(path: str, text: str, said: str) -> None:
    (fault,) = faults(path, text)
    assert said in fault


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("codec/publish.py", "x = 1\n" * 601),
        ("broker/core.py", "from curier.session.session import Session\nfrom curier.errors import MqttError"),
        ("testing/pair.py", "import curier.testing.time, curier.server, asyncio"),
        ("cli/__init__.py", "import curier\nfrom curier import Client, server\nfrom curier.cli import pub"),
        ("__init__.py", "from curier.client.client import Client\nfrom curier.types import QoS"),
    ],
)
def test_the_rules_can_be_kept(path: str, text: str) -> None:
    assert faults(path, text) == []


def test_the_sources_keep_the_rules() -> None:
    paths = sorted(SOURCE.rglob("*.py"))
    assert {path.name for path in SOURCE.iterdir() if path.is_dir()} >= CORE
    found = [
        fault for path in paths for fault in faults(path.relative_to(SOURCE).as_posix(), path.read_text())
    ]
    assert found == []
