"""The system calls that Python 3.11 does not have: mount, umount2, setns, unshare, openat2, inotify.

In and out: plain values. A failure raises OSError with errno and the path. Nothing here decides anything.
"""

import ctypes
import errno
import os
import struct

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC = 32, 4096, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 18, 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_FS, CLONE_NEWNS = 0x200, 0x20000
AT_FDCWD = -100

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 0x01, 0x02, 0x04, 0x10
_SYS_OPENAT2 = 437  # the same on every architecture, like all calls since Linux 5.0
# The kernel returns EAGAIN if a rename anywhere may have changed the meaning of a `..`. Somebody who renames all the
# time can cause that again and again; then the path is not opened.
_OPEN_TRIES = 200

IN_MODIFY, IN_MOVED_TO, IN_IGNORED = 0x2, 0x80, 0x8000
_IN_EVENT = struct.Struct("iIII")

_PR_SET_DUMPABLE, _CAP_SYS_PTRACE = 4, 19

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.syscall.restype = ctypes.c_long
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)


def _check(result: int, path: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path or None)
    return result


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    _check(
        _libc.mount(os.fsencode(source), os.fsencode(target), fstype.encode() or None, flags, data.encode() or None),
        target,
    )


def umount(target: str, flags: int = UMOUNT_NOFOLLOW) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def setns(fd: int, kind: int) -> None:
    """Move this thread into a namespace."""
    _check(_libc.setns(fd, kind))


def unshare(flags: int) -> None:
    """Give this thread its own copy of what it shared with others."""
    _check(_libc.unshare(flags))


def open_in_root(root_fd: int, path: str, flags: int, mode: int = 0, *, resolve: int = 0) -> int:
    """Open a path below a folder as if that folder were `/`: no symbolic link and no `..` leads out of it.

    `resolve`: RESOLVE_NO_SYMLINKS to refuse symbolic links on the way, RESOLVE_NO_XDEV to refuse mounts.
    """
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)
    for _ in range(_OPEN_TRIES):
        fd = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(root_fd),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.c_char_p(how),
            ctypes.c_size_t(len(how)),
        )
        if fd >= 0 or ctypes.get_errno() != errno.EAGAIN:
            break
    return _check(fd, path)


def can_open_in_root() -> bool:
    """Return whether the kernel has openat2: Linux 5.6 and later, unless a filter forbids it to this process."""
    try:
        os.close(open_in_root(AT_FDCWD, ".", os.O_PATH))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return False
        raise
    return True


def keep_out_of_cores() -> bool:
    """Let the kernel write no core of this process, and let other users not look into it. Programs it starts may again.

    Returns whether that is so. Without CAP_SYS_PTRACE nothing is changed: what the OCI runtime opens below this
    process's /proc/<pid> would be closed to it.
    """
    with open("/proc/self/status", "rb") as status:
        effective = next(line for line in status if line.startswith(b"CapEff:")).split()[1]
    if not int(effective, 16) >> _CAP_SYS_PTRACE & 1:
        return False
    _check(_libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))
    return True


def inotify_init() -> int:
    """Return a new, non-blocking inotify instance."""
    return _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def inotify_add(fd: int, path: str, mask: int) -> int:
    """Watch a path. Return the number that its events have."""
    return _check(_libc.inotify_add_watch(fd, os.fsencode(path), mask), path)


def inotify_remove(fd: int, watch: int) -> None:
    """Stop watching. Does nothing if the kernel has already removed the watch."""
    _libc.inotify_rm_watch(ctypes.c_int(fd), ctypes.c_int(watch))


def inotify_read(fd: int) -> list[tuple[int, int]]:
    """Return the waiting events as (watch, mask); empty if there are none."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return []
    found, offset = [], 0
    while offset < len(data):
        watch, mask, _cookie, length = _IN_EVENT.unpack_from(data, offset)
        found.append((watch, mask))
        offset += _IN_EVENT.size + length
    return found
