"""The proxy that the environment names, as curl and others read it: ``all_proxy``, ``no_proxy`` and such."""

from __future__ import annotations

from typing import Final

from curier.client.urls import ServerUrl

_NAMES: Final = {
    "mqtt": ("mqtt", "all", "http"),
    "mqtts": ("mqtts", "mqtt", "all", "https"),
    "ws": ("ws", "http", "all"),
    "wss": ("wss", "https", "all"),
}
"""By scheme, the variables that count, without ``_proxy``: the first that is set."""


def environment_proxy(url: ServerUrl) -> str | None:
    """The URL of the proxy before ``url``; None where none is named, or ``no_proxy`` has the host."""
    import urllib.request as environment  # which is slow to import

    proxies = environment.getproxies_environment()
    if url.scheme not in _NAMES or environment.proxy_bypass_environment(url.address, proxies):  # type: ignore[attr-defined]
        return None
    found = next((proxies[name] for name in _NAMES[url.scheme] if proxies.get(name)), None)
    if found is None:
        return None
    return (found if "://" in found else f"http://{found}").rstrip("/")
