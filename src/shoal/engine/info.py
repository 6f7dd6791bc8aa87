"""`GET /info`: everything that old and new versions of `docker info` print.

Source of the shape: moby api/types/system/info.go, daemon/info.go.
"""

import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from shoal.engine.backend import Backend
from shoal.engine.codec.cluster import CLUSTER
from shoal.engine.codec.common import GENERIC_RESOURCE
from shoal.engine.host_facts import file_system
from shoal.node.types import LocalState, SwarmInfo
from shoal.runtime.types import Phase

TWO_MANAGERS = (
    "WARNING: Running Swarm in a two-manager configuration. This configuration provides\n"
    "         no fault tolerance, and poses a high risk to lose control over the cluster.\n"
    "         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the\n"
    "         Swarm for fault-tolerance."
)


def swarm_json(info: SwarmInfo) -> dict[str, Any]:
    """Return the part about the swarm: what every node knows and, on a manager, the swarm itself without its tokens."""
    shown: dict[str, Any] = {
        "NodeID": info.node_id,
        "NodeAddr": info.node_addr,
        "LocalNodeState": info.local_state.value,
        "ControlAvailable": info.control_available,
        "Error": info.error,
        "RemoteManagers": [{"NodeID": node_id, "Addr": addr} for node_id, addr in info.remote_managers] or None,
    }
    if info.nodes:
        shown["Nodes"] = info.nodes
    if info.managers:
        shown["Managers"] = info.managers
    if info.cluster is not None:
        # Imported here, because only a manager has a cluster and its modules are loaded there anyway.
        from shoal.manager.control.clusters import redacted

        shown["Cluster"] = CLUSTER.encode(redacted(info.cluster))
    if info.managers == 2 and info.local_state is LocalState.ACTIVE:
        shown["Warnings"] = [TWO_MANAGERS]
    return shown


def info_json(backend: Backend, api: int) -> dict[str, Any]:
    """Return `/info` for an API version."""
    swarm = swarm_json(backend.node.info())
    shown = {
        **_contents(backend),
        **_abilities(),
        **_host(backend),
        **_daemon(backend),
        "Swarm": swarm,
        "Warnings": [*backend.facts.warnings, *backend.connections.warnings, *swarm.get("Warnings", ())] or None,
    }
    if api < 50:
        shown |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    if api < 49:
        for commit in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            shown[commit]["Expected"] = shown[commit]["ID"]
    if api < 47:
        shown["RegistryConfig"] |= {
            "AllowNondistributableArtifactsCIDRs": None,
            "AllowNondistributableArtifactsHostnames": None,
        }
    return shown


def _contents(backend: Backend) -> dict[str, Any]:
    containers = backend.containers.list()
    phases = Counter(container.phase for container in containers)
    return {
        "Containers": len(containers),
        "ContainersRunning": phases[Phase.RUNNING],
        "ContainersPaused": 0,
        "ContainersStopped": len(containers) - phases[Phase.RUNNING],
        "Images": len(backend.images.list()),
        "Driver": backend.facts.storage_driver,
        "DriverStatus": [["Backing Filesystem", file_system(backend.facts.data_root)]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file"],
        },
    }


def _abilities() -> dict[str, Any]:
    """Return what can be limited. The daemon does not start without cgroups, so everything can."""
    return {
        "MemoryLimit": True,
        "SwapLimit": True,
        "KernelMemoryTCP": False,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "PidsLimit": True,
        "IPv4Forwarding": True,
        "OomKillDisable": False,
        "LiveRestoreEnabled": True,  # Containers outlive the daemon, also in a swarm, unlike Docker's.
    }


def _host(backend: Backend) -> dict[str, Any]:
    host = backend.host
    security = ["name=apparmor"] if backend.facts.apparmor else []
    if host.seccomp:
        security.append("name=seccomp,profile=builtin")
    if host.cgroup_version == "2":
        security.append("name=cgroupns")
    return {
        "SystemTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "KernelVersion": host.kernel_version,
        "OperatingSystem": host.operating_system,
        "OSVersion": host.os_version,
        "OSType": "linux",
        "Architecture": host.machine,
        "NCPU": host.cpus,
        "MemTotal": host.memory_bytes,
        "CgroupVersion": host.cgroup_version,
        "SecurityOptions": security,
    }


def _daemon(backend: Backend) -> dict[str, Any]:
    facts = backend.facts
    return {
        "ID": facts.id,
        "Name": facts.name,
        "Labels": list(facts.labels),
        "Debug": facts.debug,
        "NFd": len(os.listdir("/proc/self/fd")) if facts.debug else 0,
        "NGoroutines": 0,
        "NEventsListener": 0,
        "LoggingDriver": "json-file",
        "CgroupDriver": facts.cgroup_driver,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
            "IndexConfigs": {
                "docker.io": {
                    "Name": "docker.io",
                    "Mirrors": list(facts.registry_mirrors),
                    "Secure": True,
                    "Official": True,
                },
                **{
                    name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
                    for name in facts.insecure_registries
                },
            },
            "Mirrors": list(facts.registry_mirrors) or None,
        },
        "GenericResources": [GENERIC_RESOURCE.encode(each) for each in backend.generic()] or None,
        "DockerRootDir": facts.data_root,
        "HttpProxy": facts.http_proxy,
        "HttpsProxy": facts.https_proxy,
        "NoProxy": facts.no_proxy,
        "ExperimentalBuild": facts.experimental,
        "ServerVersion": facts.version,
        "Runtimes": {facts.runtime: {"path": facts.runtime_path}},
        "DefaultRuntime": facts.runtime,
        "Isolation": "",
        "InitBinary": facts.init_binary,
        # conmon holds a container's process, as containerd does in Docker; the runtime makes it.
        "ContainerdCommit": {"ID": facts.conmon_version},
        "RuncCommit": {"ID": facts.runtime_version},
        "InitCommit": {"ID": ""},
        "CDISpecDirs": list(map(str, backend.devices.folders)),
        "DiscoveredDevices": [{"Source": "cdi", "ID": name} for name in backend.devices.names] or None,
    }
