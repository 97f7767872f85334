"""Where a peer is, of its address and port."""

from __future__ import annotations

import pytest

from curier.places import place_of


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1:1883", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:1883", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::7]:1883", "2001:db8:1:2::/64"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
        ("[::1]:1", "::/64"),
        ("[fe80::1%eth0]:1", "fe80::/64"),
        ("[no:address]:1", "no:address"),
        ("uid=1000:pid=4711", "uid=1000"),
        ("unix", "unix"),
        ("memory", "memory"),
        ("", ""),
    ],
)
def test_a_network_of_ipv6_is_one_place(address: str, place: str) -> None:
    assert place_of(address) == place
