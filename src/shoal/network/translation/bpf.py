"""Gives the kernel a program of BPF. Blocking, for a moment."""

import ctypes
import errno
import os
import platform

from shoal.errors import ShoalError

# The system call's number, by machine (asm/unistd.h); all younger machines have the last one.
_NUMBERS = {"x86_64": 321, "i686": 357, "ppc64le": 361, "s390x": 351, "armv7l": 386, "aarch64": 280, "riscv64": 280}
_LOAD, _TRAFFIC = 5, 3  # BPF_PROG_LOAD, BPF_PROG_TYPE_SCHED_CLS
_LOG_BYTES = 65536
_LICENCE = b"GPL\0"  # what the program may call


class _Attributes(ctypes.Structure):
    """The beginning of union bpf_attr, for a program; the kernel takes the rest for zeros."""

    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("instructions", ctypes.c_uint64),
        ("licence", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log", ctypes.c_uint64),
        ("kernel_version", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
    )


def load(program: bytes, name: str) -> int:
    """Return the descriptor of a program for packets of a device. ShoalError with the kernel's reason."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise ShoalError(f"programs of BPF are not known on {platform.machine()}")
    code, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(_LICENCE)
    found = _call(number, _attributes(code, len(program) // 8, licence, name))
    if found < 0:
        failed = ctypes.get_errno()
        words = os.strerror(failed)
        if failed in (errno.EINVAL, errno.EACCES):  # the kernel's own check of the program says why
            log = ctypes.create_string_buffer(_LOG_BYTES)
            attributes = _attributes(code, len(program) // 8, licence, name)
            attributes.log_level, attributes.log_size, attributes.log = 1, _LOG_BYTES, ctypes.addressof(log)
            if (again := _call(number, attributes)) >= 0:
                return again
            words += ": " + " / ".join(log.value.decode(errors="replace").splitlines()[-4:])
        raise ShoalError(f"the kernel does not take a program of BPF: {words}")
    return found


def _attributes(
    code: "ctypes.Array[ctypes.c_char]", count: int, licence: "ctypes.Array[ctypes.c_char]", name: str
) -> _Attributes:
    return _Attributes(
        _TRAFFIC, count, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0, name.encode()[:15]
    )


def _call(number: int, attributes: _Attributes) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    return int(
        library.syscall(
            ctypes.c_long(number),
            ctypes.c_long(_LOAD),
            ctypes.byref(attributes),
            ctypes.c_long(ctypes.sizeof(attributes)),
        )
    )
