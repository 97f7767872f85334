"""Which users of the broker may log in to the window, and as what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from curier.web.roles import Role


class People(NamedTuple):
    """Names of users, and of groups with an ``@`` before them. Whoever is named twice has the higher role."""

    viewers: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()

    def role_of(self, name: str, groups: Iterable[str]) -> Role | None:
        """That of a user of these groups; None: may not log in."""
        called = {f"@{group}" for group in groups}
        if not name.startswith("@"):  # or a user could be called like a group
            called.add(name)
        for role, named in ((Role.ADMIN, self.admins), (Role.OPERATOR, self.operators)):
            if not called.isdisjoint(named):
                return role
        return None if called.isdisjoint(self.viewers) else Role.VIEWER
