"""Which file system a descriptor is on: statfs(2), whose `f_type` is a number of its own for each of them."""

import ctypes
import os

_NAMES = {
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb",
    0x517B: "smb",
    0x65735546: "fuse",
    0x01021997: "9p",
    0x00C36400: "ceph",
    0x5346414F: "afs",
    0x6B414653: "afs",
    0x73757245: "coda",
    0x564C: "ncp",
    0x7461636F: "ocfs2",
    0x01161970: "gfs2",
    0x0BD00BD0: "lustre",
    0x786F4256: "vboxsf",
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x5346544E: "ntfs",
    0x7366746E: "ntfs",
    0x2FC12FC1: "zfs",
    0x794C7630: "overlay",
    0xF2F52010: "f2fs",
}
_ROOM = 256
"""More bytes than `struct statfs` has anywhere."""
_MASK = 0xFFFFFFFF

_libc = ctypes.CDLL(None, use_errno=True)


def file_system_of(descriptor: int) -> str:
    """Its name, or its number in hexadecimal."""
    found = ctypes.create_string_buffer(_ROOM)
    if _libc.fstatfs(descriptor, found) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    kind = ctypes.c_long.from_buffer(found).value & _MASK  # its first field
    return _NAMES.get(kind, f"{kind:#x}")
