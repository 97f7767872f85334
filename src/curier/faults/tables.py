"""Rules from a TOML file.

    seed = 7
    rules = ["lose 2nd PUBACK to dash-1", "delay PUBREC by 2s"]

Chances and bits are drawn from ``seed``, by default 0, so that a run can be had again.
"""

from __future__ import annotations

from pathlib import Path

from curier.errors import ConfigError
from curier.faults.rules import Rule
from curier.faults.words import parse_rule
from curier.strict_toml import TomlFile, shown, take_count

_KEYS = ("seed", "rules")


def read_rules(path: Path) -> tuple[list[Rule], int]:
    """The rules of a file, and its seed. Raises ``ConfigError`` that names file, line and word."""
    file = TomlFile(path)
    for name in file.table:
        if name not in _KEYS:
            raise file.unknown((name,), _KEYS)
    seed = file.value(("seed",), take_count) if "seed" in file.table else 0
    assert isinstance(seed, int)
    texts = file.value(("rules",), _texts) if "rules" in file.table else []
    assert isinstance(texts, list)
    rules = []
    for text in texts:
        try:
            rules.append(parse_rule(text))
        except ConfigError as error:
            raise file.wrong(("rules",), str(error)) from None
    return rules, seed


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f'expected a list of rules, as ["lose 2nd PUBACK to dash-1"], got {shown(value)}')
    return value
