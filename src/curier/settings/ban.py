"""The settings below ``[ban]``: who is banned for a while, how long. Defaults: those of ``BanSettings``."""

from __future__ import annotations

from typing import Final

from curier.settings.kinds import COUNT, SECONDS, Kind
from curier.settings.listener import NETWORKS
from curier.settings.setting import Setting


def _of(name: str, kind: Kind, default: str, about: str) -> tuple[str, Setting]:
    return name, Setting(name, kind, about, f"`{default}`", table="ban")


BAN: Final[dict[str, Setting]] = dict(
    (
        _of(
            "failures", COUNT, "10", "Wrong logins of one user at one address; 0: nobody is banned for them."
        ),
        _of("address_failures", COUNT, "100", "Wrong logins of all users at one address; 0: the same."),
        _of("user_failures", COUNT, "50", "Wrong logins of one user wherever it is not known; 0: the same."),
        _of("flaps", COUNT, "60", "Lost connections of one client; 0: the same."),
        _of("window", SECONDS, '"5 min"', "Within which these are counted."),
        _of("seconds", SECONDS, '"5 min"', "How long a first ban lasts."),
        _of("longest", SECONDS, '"1 h"', "Each further ban of the same lasts twice as long, up to this."),
        _of("never", NETWORKS, '["127.0.0.0/8", "::1"]', "Who is never banned; add your proxies."),
    )
)
