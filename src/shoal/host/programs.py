"""The host programs that Shoal runs, and the Debian package of each.

In: a program's name. Out: its path, or MissingProgram, which names the package to install.
"""

import os
import shutil

from shoal.errors import MissingProgram

PACKAGES = {
    "apparmor_parser": "apparmor",
    "conmon": "conmon",
    "crun": "crun",
    "docker-init": "tini",
    "etcd": "etcd-server",
    "ip": "iproute2",
    "mount": "mount",
    "nft": "nftables",
    "ps": "procps",
    "runc": "runc",
    "skopeo": "skopeo",
    "tini": "tini",
    "tini-static": "tini",
}

# A daemon started by a service manager or by sudo may lack the sbin folders, where runc and nft are.
_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def search_path() -> str:
    """Return PATH of this process, followed by the folders where Debian's packages put programs."""
    given = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return os.pathsep.join([*given, *(folder for folder in _FOLDERS if folder not in given)])


def find(name: str) -> str:
    """Return the path of a host program. Raises MissingProgram, with its Debian package, if it is not installed."""
    path = shutil.which(name, path=search_path())
    if path is None:
        raise MissingProgram(name, PACKAGES.get(name, name))
    return path
