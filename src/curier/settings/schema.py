"""A JSON Schema of the configuration file, for editors that complete and check TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any, Final

from curier.settings.ban import BAN
from curier.settings.cluster import CLUSTER
from curier.settings.listener import LISTENER
from curier.settings.setting import Setting, plain
from curier.settings.table import LIMIT, TOP
from curier.settings.web import WEB

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema(**more: object) -> dict[str, Any]:
    """The schema, with those of ``more`` keys at the top. What holds between settings is not in it, nor are
    the settings of each kind of authenticator: `curier config check` has all.
    """
    include: dict[str, object] = {"type": "string", "minLength": 1}
    return {
        "$schema": _DIALECT,
        "title": "curier broker",
        **_table(
            TOP.values(),
            include={
                "anyOf": [include, {"type": "array", "items": include}],
                "description": "Further files, as a pattern of paths.",
            },
            sys_interval=_one(LIMIT["sys_interval"]),
            listener={"type": "array", "items": {**_table(LISTENER.values()), "required": ["url"]}},
            ban=_table(BAN.values()),
            web=_table(WEB.values()),
            cluster=_table(CLUSTER.values()),
            webhook={"type": "array", "items": {"type": "object", "required": ["url"]}},
            bridge={"type": "array", "items": {"type": "object", "required": ["name", "url", "topics"]}},
            limits=_table(LIMIT.values()),
            **more,
        ),
    }


def _table(settings: Iterable[Setting], **more: object) -> dict[str, object]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**{one.key_there or one.name: _one(one) for one in settings}, **more},
    }


def _one(setting: Setting) -> dict[str, object]:
    found = {**setting.kind.schema, "description": plain(setting.about)}
    default = default_of(setting)
    return found if default is None else {**found, "default": default}


def default_of(setting: Setting) -> object:
    """The default as TOML has it; None where it is nothing that could be written there."""
    text = setting.default
    if not (text.startswith("`") and text.endswith("`")):
        return None
    try:
        return tomllib.loads(f"it = {text[1:-1]}")["it"]
    except tomllib.TOMLDecodeError:
        return None
