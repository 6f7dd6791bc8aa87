"""What this host offers to containers, examined once at the start. Blocking.

Out: `Host`. Raises DamagedState, FailedPrecondition or MissingProgram if the host lacks something that confines
containers.
"""

import functools
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.errors import DamagedState, FailedPrecondition, MissingProgram
from shoal.host import linux, programs
from shoal.json_text import read_json
from shoal.runtime import apparmor, capabilities, hostfiles, oci_spec, seccomp, seccomp_bpf

SECCOMP_PROFILE = "/usr/share/containers/seccomp.json"
_SECCOMP_PACKAGE = "golang-github-containers-common"
_RESOLVED = "/run/systemd/resolve/resolv.conf"

# Programs for `--init`, best first. They are linked statically, because a container's root may have no libc.
_INITS = ("docker-init", "tini-static", "catatonit")


@dataclass(frozen=True, eq=False)  # compared by identity, so that it can be a key of the caches below
class Host:
    """Facts that do not change while the daemon runs."""

    available: frozenset[str]  # capabilities that containers can get
    seccomp_profile: Mapping[str, Any] | None  # None: the kernel has no seccomp
    apparmor: apparmor.Confinement
    masked: tuple[str, ...]
    machine: str

    @functools.lru_cache(maxsize=16)  # noqa: B019 - there is one Host, and few sets of capabilities
    def seccomp(self, names: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the default filter for a set of capabilities. It is shared and must not be changed."""
        if self.seccomp_profile is None:
            return None
        return seccomp.default(self.seccomp_profile, names, self.machine)

    @functools.lru_cache(maxsize=16)  # noqa: B019
    def seccomp_program(self, names: tuple[str, ...]) -> str:
        """Return the same filter, compiled and in base64; empty if it cannot be compiled."""
        profile = self.seccomp(names)
        return (seccomp_bpf.compile_profile(profile) or "") if profile else ""


def look() -> Host:
    """Read the facts of this host. Raises DamagedState, FailedPrecondition, MissingProgram."""
    if not linux.can_open_in_root():
        raise FailedPrecondition(
            "the system call openat2 is missing, without which a container's links would lead to files of this host: "
            "use Linux 5.6 or later, and no filter that forbids it"
        )
    status = Path("/proc/self/status").read_text()
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    has_seccomp = "\nSeccomp:" in status
    return Host(
        available=capabilities.from_mask(int(bounding, 16)),
        seccomp_profile=_profile() if has_seccomp else None,
        apparmor=apparmor.load(),
        masked=oci_spec.MASKED + _throttles(),
        machine=platform.machine(),
    )


def _profile() -> Mapping[str, Any]:
    try:
        data = read_json(Path(SECCOMP_PROFILE).read_bytes())
    except FileNotFoundError as error:
        raise MissingProgram(SECCOMP_PROFILE, _SECCOMP_PACKAGE) from error
    except ValueError as error:
        raise DamagedState(SECCOMP_PROFILE, str(error)) from error
    if not isinstance(data, dict):
        raise DamagedState(SECCOMP_PROFILE, "it is not an object")
    return data


def _throttles() -> tuple[str, ...]:
    """Return the files that show the heat of each CPU. As in moby, they are masked (GHSA-6fw5-f8r9-fgfm)."""
    found = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")
    return tuple(str(path) for path in sorted(found))


def init_program() -> str:
    """Return the program for `--init`. Raises MissingProgram."""
    for name in _INITS:
        try:
            return programs.find(name)
        except MissingProgram:
            continue
    raise MissingProgram("docker-init", "tini")


def resolv_conf() -> str:
    """Return the host's resolv.conf or, if it only names a local stub, the file with the servers behind that stub.

    It is read each time, because it changes with the host's networks.
    """
    text = _read("/etc/resolv.conf")
    if hostfiles.has_only_loopback(text) and os.path.exists(_RESOLVED):
        return _read(_RESOLVED)
    return text


def etc_hosts() -> str:
    """Return the host's /etc/hosts."""
    return _read("/etc/hosts")


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
