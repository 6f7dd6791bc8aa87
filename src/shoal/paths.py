"""Where Shoal keeps its files: below two roots, and nowhere else."""

from dataclasses import dataclass
from pathlib import Path


def tag_of(engine_id: str) -> str:
    """Return the part of a daemon's id that names its bridge, cgroups and packet tables: 8 hex digits."""
    return engine_id.replace("-", "")[:8]


@dataclass(frozen=True, slots=True)
class Paths:
    """The two roots and the folders below them.

    `data_root` must survive a reboot; `exec_root` need not and is on a tmpfs. Whoever first writes to a folder makes
    it, with mode 0700.
    """

    data_root: Path
    exec_root: Path

    @property
    def engine_id(self) -> Path:
        """The file with the daemon's id, which is made once."""
        return self.data_root / "engine-id"

    @property
    def swarm(self) -> Path:
        """Certificates, etcd's data, the agent's tasks. `swarm leave` removes it."""
        return self.data_root / "swarm"

    @property
    def containers(self) -> Path:
        """A folder for each container: config.json, state.json, its writable layer, its log, its files of /etc."""
        return self.data_root / "containers"

    @property
    def images(self) -> Path:
        """Layers by digest, image configs, names."""
        return self.data_root / "images"

    @property
    def mountpoints(self) -> Path:
        """The lowest layer of every container's root. It has the mount points that an image may lack."""
        return self.data_root / "mountpoints"

    @property
    def volumes(self) -> Path:
        """A folder for each local volume."""
        return self.data_root / "volumes"

    @property
    def network(self) -> Path:
        """The state of the host's own network: the addresses that were given out."""
        return self.data_root / "network"

    @property
    def bundles(self) -> Path:
        """A folder for each running container: OCI bundle, conmon's pid and exit files, sockets."""
        return self.exec_root / "containers"

    @property
    def netns(self) -> Path:
        """Pinned network namespaces."""
        return self.exec_root / "netns"

    @property
    def network_process(self) -> Path:
        """The network process's socket, its lock, and the last state that the daemon asked it for."""
        return self.exec_root / "network"

    @property
    def etcd(self) -> Path:
        """etcd's working directory, which holds its client socket."""
        return self.exec_root / "etcd"

    @property
    def restoring(self) -> "Paths":
        """Where a swarm is built from a backup before it is put in place. Leftovers here are from a broken restore."""
        return Paths(self.data_root / "restoring", self.exec_root / "restoring")
