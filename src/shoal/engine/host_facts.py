"""The host's facts in `/info` and `/version`: kernel, distribution, processors, memory, cgroups. They are read once."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

# Go's names (GOARCH) for uname's names of machines, for /version. /info shows uname's own.
_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The host below the daemon."""

    kernel_version: str
    operating_system: str  # Debian GNU/Linux 12 (bookworm)
    os_version: str
    machine: str  # x86_64
    architecture: str  # amd64
    cpus: int
    memory_bytes: int
    cgroup_version: str  # "1" or "2"
    seccomp: bool

    @classmethod
    def read(cls) -> "HostFacts":
        """Read the facts of this host."""
        release = _os_release()
        machine = platform.machine()
        return cls(
            kernel_version=platform.release(),
            operating_system=release.get("PRETTY_NAME", "Linux"),
            os_version=release.get("VERSION_ID", ""),
            machine=machine,
            architecture=_GO_ARCHITECTURES.get(machine, machine),
            cpus=len(os.sched_getaffinity(0)),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            cgroup_version="2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "1",
            seccomp=Path("/proc/sys/kernel/seccomp").exists(),
        )


def _os_release() -> dict[str, str]:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
        return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
    return {}


# Docker's names of file systems that differ from the kernel's.
_FILE_SYSTEMS = {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs", "fuseblk": "fuse"}


def file_system(path: str) -> str:
    """Return the type of a path's file system by the name of `docker info`, or an empty text if it is unknown."""
    try:
        device = os.stat(path).st_dev
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        mounted, _, rest = line.partition(" - ")
        if mounted.split()[2] == number:
            kind = rest.split()[0]
            return _FILE_SYSTEMS.get(kind, kind)
    return ""
