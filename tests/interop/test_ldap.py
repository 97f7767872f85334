"""Users in a real directory: Debian's slapd, which stands still, is not there, and comes back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from curier.auth import Credentials
from curier.auth.ldap import LdapAuthenticator, LdapSettings
from curier.errors import ConfigError
from tests.conftest import require_peer
from tests.standing_still import stand_still

ANA = Credentials("c1", "ana", b"right", "192.0.2.1:5000", "tcp://0.0.0.0:1883", 5)

CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/pid
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.pem
database mdb
suffix dc=example
rootdn cn=admin,dc=example
rootpw "secret of admin"
directory {folder}/data
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree=ou=hidden,dc=example by dn=cn=admin,dc=example read by * none
access to * by * read
"""

ENTRIES = """
dn: dc=example
objectClass: domain
dc: example

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

dn: uid=ana,ou=people,dc=example
objectClass: inetOrgPerson
uid: ana
cn: Ana
sn: A
userPassword: right
memberOf: cn=staff\\2C all,dc=example
memberOf: cn=admins,dc=example

dn: uid=bob\\2C the \\2A,ou=people,dc=example
objectClass: inetOrgPerson
uid: bob, the *
cn: Bob
sn: twin
userPassword: of bob
memberOf: cn=admins,dc=example

dn: uid=carl,ou=people,dc=example
objectClass: inetOrgPerson
uid: carl
uid: karl
cn: Carl
sn: twin
userPassword: of carl

dn: uid=dora,ou=people,dc=example
objectClass: inetOrgPerson
uid: dora
cn: Dora
sn: D

dn: cn=staff\\2C all,dc=example
objectClass: groupOfNames
cn: staff, all
member: uid=ana,ou=people,dc=example

dn: cn=admins,dc=example
objectClass: groupOfNames
cn: admins
member: uid=ana,ou=people,dc=example
member: uid=bob\\2C the \\2A,ou=people,dc=example

dn: ou=elsewhere,dc=example
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:1/dc=other
"""


class Directory:
    """A server of its own, in the foreground."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        trustme.CA().cert_pem.write_to_path(folder / "other.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        (folder / "slapd.conf").write_text(CONFIG.format(folder=folder))
        (folder / "entries").write_text(ENTRIES)
        (folder / "admin").write_text("secret of admin\n")
        add = [require_peer("slapadd"), "-f", folder / "slapd.conf", "-l", folder / "entries"]
        done = subprocess.run([str(part) for part in add], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            self.port, self.tls_port = one.getsockname()[1], two.getsockname()[1]
        self.start()

    def start(self) -> None:
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        command = [require_peer("slapd"), "-f", str(self.folder / "slapd.conf"), "-h", urls, "-d", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 100
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.tls_port)).close()
                break
            except OSError:
                assert time.monotonic() < until, "slapd does not start"
                time.sleep(0.02)

    def stand_still(self) -> None:
        stand_still(self.process.pid)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(100)


@pytest.fixture(scope="module")
def directory() -> Iterator[Directory]:
    require_peer("bonsai")
    require_peer("slapd")
    folder = Path(tempfile.mkdtemp(prefix="curier-slapd-"))
    directory = Directory(folder)
    try:
        yield directory
    finally:
        directory.stop()
        shutil.rmtree(folder)


def asking(directory: Directory, **settings: Any) -> LdapAuthenticator:
    settings = {"url": f"ldap://127.0.0.1:{directory.port}", "timeout": 30.0, **settings}
    return LdapAuthenticator(LdapSettings(**{"base": "ou=people,dc=example", **settings}))


async def test_who_has_the_password(directory: Directory) -> None:
    one = asking(directory)
    verdict = await one.authenticate(ANA)
    assert (verdict.accepted, verdict.identity, verdict.groups) == (True, "ana", frozenset())
    for typed in ("ANA", " ana ", "Ana"):  # which are the same to a directory, and so to us
        assert (await one.authenticate(replace(ANA, username=typed))).identity == "ana"
    bob = replace(ANA, username="bob, the *", password=b"of bob")
    assert (await one.authenticate(bob)).identity == "bob, the *"
    for username, password, is_mine in (
        ("ana", b"wrong", True),
        ("ana", b"", True),
        ("ana", b"right\0", True),
        ("ana", b"right\0x", True),
        ("ana", b"\xff", True),
        ("dora", b"x", True),  # who has none
        ("nobody", b"right", False),
        ("*", b"right", False),
        ("a*", b"right", False),
        ("ana)(uid=*", b"right", False),
        ("\\61na", b"right", False),
        ("", b"right", False),
        ("a" * 257, b"right", False),
    ):
        verdict = await one.authenticate(replace(ANA, username=username, password=password))
        assert (verdict.reason_code, verdict.is_mine) == (0x86, is_mine), (username, verdict.why)


async def test_which_of_them_is_not_clear(directory: Directory) -> None:
    one = asking(directory, filter="(|(uid={username})(sn={username}))")
    twin = replace(ANA, username="twin", password=b"of bob")
    assert (await one.authenticate(twin)).reason_code == 0x88
    one = asking(directory)
    carl = await one.authenticate(replace(ANA, username="karl", password=b"of carl"))
    assert (carl.reason_code, "has no value, or more than one" in carl.why) == (0x88, True)
    verdict = await asking(directory, identity_attribute="mail").authenticate(ANA)
    assert (verdict.reason_code, "has no value, or more than one" in verdict.why) == (0x88, True)


async def test_groups(directory: Directory) -> None:
    for settings in ({"groups_attribute": "memberOf"}, {"group_base": "dc=example"}):
        one = asking(directory, **settings)
        assert (await one.authenticate(ANA)).groups == {"staff, all", "admins"}
        bob = replace(ANA, username="bob, the *", password=b"of bob")
        assert (await one.authenticate(bob)).groups == {"admins"}
    one = asking(directory, group_base="dc=example", group_filter="(&(member={dn})(cn=adm*))")
    assert (await one.authenticate(ANA)).groups == {"admins"}


async def test_referrals_are_not_followed(directory: Directory) -> None:
    assert (await asking(directory, base="dc=example").authenticate(ANA)).accepted
    verdict = await asking(directory, base="ou=elsewhere,dc=example").authenticate(ANA)
    assert not verdict.accepted


async def test_who_asks_may_have_a_name_of_its_own(directory: Directory) -> None:
    service = {"bind_dn": "cn=admin,dc=example", "password_file": str(directory.folder / "admin")}
    assert (await asking(directory, **service).authenticate(ANA)).accepted
    wrong = directory.folder / "wrong"
    wrong.write_text("wrong secret")
    verdict = await asking(directory, **(service | {"password_file": str(wrong)})).authenticate(ANA)
    assert (verdict.reason_code, verdict.is_mine) == (0x88, True)
    assert "wrong secret" not in verdict.why


async def test_tls(directory: Directory) -> None:
    ca = str(directory.folder / "ca.pem")
    other = str(directory.folder / "other.pem")
    secure = f"ldaps://127.0.0.1:{directory.tls_port}"
    assert (await asking(directory, url=secure, ca_file=ca).authenticate(ANA)).accepted
    assert (await asking(directory, starttls=True, ca_file=ca).authenticate(ANA)).accepted
    for how in (
        {"url": secure, "ca_file": other},
        {"url": secure},
        {"url": f"ldaps://localhost:{directory.tls_port}", "ca_file": ca},
        {"starttls": True, "ca_file": other},
    ):
        assert (await asking(directory, **how).authenticate(ANA)).reason_code == 0x88


async def test_a_restart_is_not_noticed(directory: Directory) -> None:
    one = asking(directory)
    assert (await one.authenticate(ANA)).accepted
    directory.stop()
    directory.start()
    assert (await one.authenticate(ANA)).accepted
    directory.stop()
    try:
        assert (await one.authenticate(ANA)).reason_code == 0x88
    finally:
        directory.start()


async def test_a_directory_that_stands_still_holds_up_nobody(directory: Directory) -> None:
    """With the connection open, and while one is made, with TLS too; the loop goes on meanwhile."""
    one, fresh = asking(directory), asking(directory, timeout=0.5)
    ca = str(directory.folder / "ca.pem")
    secure = asking(directory, url=f"ldaps://127.0.0.1:{directory.tls_port}", ca_file=ca, timeout=0.5)
    assert (await one.authenticate(ANA)).accepted
    one._database._timeout = 0.5  # type: ignore[misc]  # its process may have taken longer to begin
    directory.stand_still()
    try:
        for asked in (one, fresh, secure):
            ticks = 0
            task = asyncio.create_task(asked.authenticate(ANA))
            while not task.done():
                await asyncio.sleep(0)
                ticks += 1
            assert (await task).reason_code == 0x88
            assert ticks > 100
    finally:
        os.kill(directory.process.pid, signal.SIGCONT)


def test_settings_that_cannot_be() -> None:
    require_peer("bonsai")
    for settings, said in (
        ({"url": "http://a.example"}, "expected ldaps://host"),
        ({"url": "ldaps://u:p@a.example"}, "expected ldaps://host"),
        ({"url": "ldaps://a.example/dc=x"}, "the base is a setting of its own"),
        ({"url": "ldap://a.example"}, "others could read the passwords"),
        ({"starttls": True}, "starttls is for ldap://"),
        ({"filter": "(uid=ana)"}, "filter: it is the same for all"),
        ({"group_filter": "(cn=x)"}, "group_filter: it is the same for all"),
        ({"bind_dn": "cn=a"}, "bind_dn and password or password_file go together"),
        ({"timeout": 0.0}, "more than 0"),
    ):
        with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
            LdapAuthenticator(replace(LdapSettings("ldaps://a.example", "dc=x"), **settings))
