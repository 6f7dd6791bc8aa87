"""Makes the `Site` of this host, once at the start. Blocking; for a worker thread.

In: the daemon's paths and tag. Out: the folders that containers need, and the OCI runtime that works here.
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
    """Return the site. Raises MissingProgram, FailedPrecondition, DamagedState; ShoalError if no OCI runtime works."""
    if not tag.isalnum():
        raise FailedPrecondition(f"a node tag is letters and digits, not {tag!r}")
    for folder in (paths.containers, paths.bundles):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    rootfs.make_mountpoints(paths.mountpoints)
    cgroups = Cgroups(tag)
    oci_runtime.share(paths.bundles)
    with ThreadPoolExecutor(1) as beside:  # in parallel, because both mostly wait for programs
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
    """Compile the default seccomp program into the cache, because most containers need it."""
    if site.runtime.name == "crun":
        site.host.seccomp_program(capabilities.effective((), (), site.host.available))
