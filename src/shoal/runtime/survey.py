"""Looks up, once at start, what this host offers containers: `Site`. Blocking; in a worker thread.

In: the daemon's paths and tag. Out: the folders that containers need, made, and the OCI runtime that works here.
"""

from concurrent.futures import ThreadPoolExecutor

from shoal.errors import FailedPrecondition
from shoal.host import programs
from shoal.paths import Paths
from shoal.runtime import bundle, capabilities, host, oci_runtime, rootfs
from shoal.runtime.cgroups import Cgroups
from shoal.runtime.devices import Devices
from shoal.runtime.log_options import LogDefault


def look_around(paths: Paths, tag: str, logs: LogDefault, devices: Devices) -> bundle.Site:
    """Where and by what containers are made. MissingProgram, or ShoalError where no OCI runtime works."""
    if not tag.isalnum():
        raise FailedPrecondition(f"a node tag is letters and digits, not {tag!r}")
    for folder in (paths.containers, paths.bundles):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    rootfs.make_mountpoints(paths.mountpoints)
    cgroups = Cgroups(tag)
    oci_runtime.share(paths.bundles)
    with ThreadPoolExecutor(1) as beside:  # both mostly wait for programs: AppArmor's parser here, crun there
        looking = beside.submit(host.look)
        runtime = oci_runtime.probe(paths.exec_root / "runtime", paths.bundles, cgroups)
        facts = looking.result()
    return bundle.Site(
        host=facts,
        conmon=programs.find("conmon"),
        runtime=runtime,
        cgroups=cgroups,
        containers=paths.containers,
        bundles=paths.bundles,
        mountpoints=paths.mountpoints,
        logs=logs,
        devices=devices,
    )


def prepare(site: bundle.Site) -> None:
    """Make what most containers have, the seccomp program: it is kept. To be called beside the daemon's start."""
    if site.runtime.name == "crun":
        site.host.seccomp_program(capabilities.effective((), (), site.host.available))
