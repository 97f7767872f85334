"""Settings from environment variables: ``CURIER_MAX_PACKET_SIZE=1MiB`` and the like.

A value is taken as it is: no quotes, comments or variables in it mean anything. One that is empty is an empty
text, and not as if it were not there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

from curier.errors import ConfigError
from curier.settings.setting import ENVIRONMENT
from curier.settings.table import ALL

CONFIG: Final = "CURIER_CONFIG"
"""Names the configuration file."""

_OTHERS: Final = frozenset(
    f"{ENVIRONMENT}{name}"
    for name in (
        *("CONFIG", "PASSWORD"),  # of commands
        *("PURE", "EXPECT", "REQUIRE", "HYPOTHESIS"),  # of the build, and of the tests
        *("LIVES", "SCHEDULES", "STATEMENTS"),
    )
)
_KUBERNETES: Final = re.compile(ENVIRONMENT + r"((.*_)?SERVICE_(HOST|PORT)|(.*_)?PORT)(_.*)?")
"""What it tells every container where there is a service named ``curier``, or ``curier-...``."""


def settings_of(environment: Mapping[str, str]) -> dict[str, object]:
    """The settings that are there, by name. Raises ``ConfigError`` for those that are wrong or not known."""
    known = {one.variable: one for one in ALL.values()}
    found: dict[str, object] = {}
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT) or variable in _OTHERS:
            continue
        setting = known.get(variable)
        if setting is None:
            if _KUBERNETES.fullmatch(variable):
                continue
            name = variable.removeprefix(ENVIRONMENT).lower()
            near = difflib.get_close_matches(name, ALL, n=1)
            hint = f"; did you mean {ALL[near[0]].variable}?" if near else "; take it out of the environment"
            raise ConfigError(f"{variable}: there is no such setting{hint}")
        try:
            found[setting.name] = setting.kind.parse(environment[variable])
        except (ValueError, ConfigError) as error:
            raise ConfigError(f"{variable}: {error}") from None
    return found
