"""On which file system a directory lies."""

from __future__ import annotations

from pathlib import Path

from curier.verify.place import Place, place_of

MOUNTS = r"""22 1 254:0 / / rw - ext4 /dev/vda1 rw
23 22 0:21 / /tmp/disks rw,relatime shared:5 - xfs /dev/sdb1 rw
24 22 0:22 / /tmp/with\040blank rw - tmpfs none rw
25 22 0:23 / /tmp/over rw - ext4 /dev/old rw
26 25 0:24 / /tmp/over rw - btrfs /dev/new rw
nonsense
"""


def test_the_longest_mount_point_counts() -> None:
    assert place_of(Path("/tmp/disks/a"), MOUNTS) == Place("/tmp/disks/a", "xfs", "/dev/sdb1")
    assert place_of(Path("/tmp/disks"), MOUNTS).filesystem == "xfs"
    assert place_of(Path("/tmp/disks2"), MOUNTS).device == "/dev/vda1"
    assert place_of(Path("/"), MOUNTS).device == "/dev/vda1"
    assert str(place_of(Path("/tmp/disks"), MOUNTS)) == "/tmp/disks (xfs on /dev/sdb1)"


def test_a_later_mount_hides_an_earlier_one() -> None:
    assert place_of(Path("/tmp/over/x"), MOUNTS).device == "/dev/new"


def test_memory_is_told_from_disks_and_names_may_have_blanks() -> None:
    assert place_of(Path("/tmp/with blank/x"), MOUNTS).is_memory
    assert not place_of(Path("/tmp"), MOUNTS).is_memory


def test_where_the_system_does_not_say_it_is_the_directory_alone() -> None:
    assert str(place_of(Path("/somewhere"), "")) == "/somewhere"
