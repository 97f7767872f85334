"""Settings from environment variables: ``CURIER_MAX_PACKET_SIZE=1MiB`` and the like.

A value is taken as it is: no quotes, comments or variables in it mean anything. One that is empty is an empty
text, and not as if it were not there.
"""

from __future__ import annotations

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

WORKER: Final = "CURIER_WORKER"
"""Tells a process which one of the workers it is, and the descriptor where it meets the others: ``2:7``."""

CALLED: Final = "CURIER_CALLED"
"""Tells a worker how the command was called that started it."""

_OTHERS: Final = frozenset(
    f"{ENVIRONMENT}{name}"
    for name in (
        *("CONFIG", "PASSWORD", "WORKER", "CALLED"),  # of commands
        *("PURE", "EXPECT", "REQUIRE_PEERS", "HYPOTHESIS"),  # of the build, and of the tests
        *("LIVES", "SCHEDULES", "STATEMENTS_FILE", "BENCH_NAMESPACE"),
    )
)
_KUBERNETES: Final = re.compile(ENVIRONMENT + r"((.*_)?SERVICE_(HOST|PORT)|(.*_)?PORT)(_.*)?")
"""What it tells every container where there is a service named ``curier``, or ``curier-...``."""


def settings_of(environment: Mapping[str, str], wrong: list[ConfigError] | None = None) -> dict[str, object]:
    """The settings that are there, by name. Raises ``ConfigError`` for those that are wrong, and for names
    much like that of a setting, or puts it into ``wrong`` and goes on; other names (secrets that ``env:``
    leads to, maybe) are a warning.
    """
    known = {one.variable: one for one in ALL.values()}
    found: dict[str, object] = {}
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT) or variable in _OTHERS:
            continue
        setting = known.get(variable)
        try:
            if setting is not None:
                found[setting.name] = setting.kind.parse(environment[variable])
            elif not _KUBERNETES.fullmatch(variable):
                _check_unknown(variable)
        except (ValueError, ConfigError) as error:
            error = ConfigError(f"{variable}: {error}")
            if wrong is None:
                raise error from None
            wrong.append(error)
    return found


def _check_unknown(variable: str) -> None:
    """Raise ``ConfigError`` for a variable that was perhaps meant to be one of ours."""
    name = variable.removeprefix(ENVIRONMENT).lower()
    from difflib import get_close_matches  # only for what is wrong

    near = get_close_matches(name, ALL, n=1, cutoff=0.75)
    if near:
        raise ConfigError(f"there is no such setting; did you mean {ALL[near[0]].variable}?")
    _log.warning("%s: there is no such setting, so it does nothing", printable(variable))
