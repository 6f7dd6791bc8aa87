"""Where Shoal keeps things: below two roots, and nowhere else."""

from dataclasses import dataclass
from pathlib import Path


def tag_of(engine_id: str) -> str:
    """What is made of a daemon's id to name bridge, cgroups and tables with."""
    return engine_id.replace("-", "")[:8]


@dataclass(frozen=True, slots=True)
class Paths:
    """The two roots and the folders below them.

    `data_root` survives a reboot, `exec_root` is on a tmpfs and need not. A folder is made, 0700, by who first
    writes to it.
    """

    data_root: Path
    exec_root: Path

    @property
    def engine_id(self) -> Path:
        """The daemon's id, in a file: made once."""
        return self.data_root / "engine-id"

    @property
    def swarm(self) -> Path:
        """Certificates, etcd's data, the agent's tasks: gone after `swarm leave`."""
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
        """The lowest layer of every container's root: what is mounted over, for images that lack it."""
        return self.data_root / "mountpoints"

    @property
    def volumes(self) -> Path:
        """A folder for each local volume."""
        return self.data_root / "volumes"

    @property
    def network(self) -> Path:
        """What the host's own network must remember: addresses given out."""
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
        """The network process's socket, its lock, and what was last wanted of it."""
        return self.exec_root / "network"

    @property
    def etcd(self) -> Path:
        """etcd's working directory, where its client socket is."""
        return self.exec_root / "etcd"

    @property
    def restoring(self) -> "Paths":
        """Where a swarm is made of a backup before it takes its place; what lies there otherwise was broken off."""
        return Paths(self.data_root / "restoring", self.exec_root / "restoring")
