"""Where a peer is, of its address and port."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from curier.places import lies_in, place_of, region_of


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


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("10.1.2.3:4", True),
        ("11.1.2.3:4", False),
        ("[::ffff:10.1.2.3]:4", True),
        ("[2001:db8::1]:4", True),
        ("[2001:db9::1]:4", False),
        ("[fe80::1%eth0]:4", True),
        ("uid=0:pid=1", False),
        ("unix", False),
        ("10.1.2.3", False),
        ("", False),
    ],
)
def test_networks(address: str, is_in: bool) -> None:
    networks = [ip_network("10.0.0.0/8"), ip_network("2001:0db8::/32"), ip_network("fe80::/10")]
    assert lies_in(address, networks) is is_in
    assert not lies_in(address, [])


@pytest.mark.parametrize(
    ("address", "region"),
    [
        ("192.0.2.1:1883", "192.0.0.0/16"),
        ("[::ffff:192.0.2.1]:1883", "192.0.0.0/16"),
        ("[2001:db8:1:2::7]:1883", "2001:0db8::/32"),
        ("[2001::7]:1883", "2001:0000::/32"),
        ("uid=1000:pid=4711", "uid=1000"),
        ("a.b.c.d:1", "a.b.c.d"),
        ("pipe", "pipe"),
    ],
)
def test_regions(address: str, region: str) -> None:
    assert region_of(place_of(address)) == region
