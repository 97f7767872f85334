"""The default configuration file: every setting, commented out, with what it is about."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from curier.settings.ban import BAN
from curier.settings.cluster import CLUSTER
from curier.settings.limits import LIMITS
from curier.settings.listener import LISTENER
from curier.settings.schema import default_of
from curier.settings.setting import Setting, plain
from curier.settings.table import LIMIT, TOP
from curier.settings.web import WEB

_HEAD: Final = """\
# Settings of curier broker: curier broker --config THIS-FILE
#
# Every setting is commented out and shows the default, or an example where there is none. Paths are
# relative to this file. Sizes: "64 KiB", "1.5 GB"; times: "500 ms", "5 min", "7 d".
# To see whether all is right: curier config check THIS-FILE

# Further files, in the order of their names.
#include = "conf.d/*.toml"
"""

_EXAMPLES: Final = {
    "listen": '["tcp://127.0.0.1:1883", "tcp://[::1]:1883"]',
    "certificate": '"server.pem"',
    "key": '"server.key"',
    "client_ca": '"clients-ca.pem"',
    "data": '"/var/lib/curier"',
    "allow_anonymous": "false",
    "password_file": '"users"',
    "acl_file": '"acl"',
    "hooks": '["hooks.py"]',
    "log_file": '"/var/log/curier/curier.log"',
    "audit_log": '"/var/log/curier/audit.log"',
    "cluster": '"nats://10.0.0.1,10.0.0.2,10.0.0.3"',
    "node_name": '"a"',
    "cluster_monitors": '["http://10.0.0.1:8222"]',
    "cluster_credentials": '"curier.creds"',
    "cluster_cafile": '"nats-ca.pem"',
    "cluster_certificate": '"node.pem"',
    "cluster_key": '"node-key.pem"',
    "web_certificate": '"web.pem"',
    "web_key": '"web.key"',
    "web_tokens": '"web-tokens"',
}
"""Of settings whose default cannot be written down."""

_LISTENER: Final = ("url", "name", "certificate", "key", "client_ca", "identity", "max_connections", "mount")
"""What the example of a listener has; the page listeners.md has all."""

_LISTENER_EXAMPLES: Final = {
    "url": '"tls://0.0.0.0:8883"',
    "name": '"devices"',
    "identity": '"common-name"',
    "mount": '"site-a/"',
}


def template() -> str:
    """The text of the file."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    yield from _settings(TOP.values())
    yield "# A listener with settings of its own. There may be several; docs/listeners.md has more settings."
    yield "#[[listener]]"
    yield from _settings(LISTENER[name] for name in _LISTENER)
    yield "# Who is asked whether a client may connect, in order; docs/configuration.md has all kinds."
    yield "#[[authenticator]]"
    yield '#kind = "password-file"'
    yield '#file = "users"\n'
    yield "# Who is banned for a while."
    yield "[ban]"
    yield from _settings(BAN.values())
    yield "# Who is told by HTTP of what happens; docs/webhooks.md has all settings."
    yield "#[[webhook]]"
    yield '#url = "https://example.org/mqtt"\n'
    yield "# A broker that messages are carried to and from; docs/bridge.md has all settings."
    yield "#[[bridge]]"
    yield '#name = "cloud"'
    yield '#url = "mqtts://broker.example"'
    yield '#topics = ["sensors/# out 1", "commands/# in 1"]\n'
    yield "# The window: pages, an API and metrics by HTTP."
    yield "[web]"
    yield from _settings(WEB.values())
    yield "# One node of a cluster on NATS JetStream."
    yield "[cluster]"
    yield from _settings(CLUSTER.values())
    yield "[limits]"
    for section in LIMITS:
        yield f"\n# -- {section} --\n"
        yield from _settings(one for one in LIMIT.values() if one.section == section)


def _settings(settings: Iterable[Setting]) -> Iterator[str]:
    for one in settings:
        yield from textwrap.wrap(
            plain(one.about), 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
        )
        yield f"#{one.key_there or one.name} = {_value(one)}"
        yield ""


def _value(setting: Setting) -> str:
    if setting.table == "listener" and setting.name in _LISTENER_EXAMPLES:
        return _LISTENER_EXAMPLES[setting.name]
    if default_of(setting) is not None:
        return setting.default.strip("`")
    return _EXAMPLES[setting.name]
