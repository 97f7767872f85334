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
from curier.loglines import logger, printable
from curier.settings.setting import ENVIRONMENT
from curier.settings.table import ALL

_log = logger("curier.settings")

CONFIG: Final = "CURIER_CONFIG"
"""Names the configuration file."""

_OTHERS: Final = frozenset(
    f"{ENVIRONMENT}{name}"
    for name in (
        *("CONFIG", "PASSWORD"),  # of commands
        *("PURE", "EXPECT", "REQUIRE_PEERS", "HYPOTHESIS"),  # of the build, and of the tests
        *("LIVES", "SCHEDULES", "STATEMENTS_FILE", "BENCH_NAMESPACE"),
    )
)
_KUBERNETES: Final = re.compile(ENVIRONMENT + r"((.*_)?SERVICE_(HOST|PORT)|(.*_)?PORT)(_.*)?")
"""What it tells every container where there is a service named ``curier``, or ``curier-...``."""


def settings_of(environment: Mapping[str, str]) -> dict[str, object]:
    """The settings that are there, by name. Raises ``ConfigError`` for those that are wrong, and for names
    much like that of a setting; other names (secrets that ``env:`` leads to, maybe) are a warning.
    """
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
            near = difflib.get_close_matches(name, ALL, n=1, cutoff=0.75)
            if near:
                hint = f"did you mean {ALL[near[0]].variable}?"
                raise ConfigError(f"{variable}: there is no such setting; {hint}")
            _log.warning("%s: there is no such setting, so it does nothing", printable(variable))
            continue
        try:
            found[setting.name] = setting.kind.parse(environment[variable])
        except (ValueError, ConfigError) as error:
            raise ConfigError(f"{variable}: {error}") from None
    return found
