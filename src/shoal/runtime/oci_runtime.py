"""Finds the OCI runtime that works on this host, and calls it.

`probe` tries crun, then crun with the v2 part of a hybrid cgroup tree hidden (crun refuses such hosts otherwise), then
runc. crun runs in a mount namespace that protects its program. Blocking; for worker threads. In: bundles and argument
lists. Out: child processes.

Only this process and the conmons in it keep the namespace alive, so it need not be removed. It is a slave of the host's
namespace, and bundles are on a shared mount, so later mounts and unmounts there take effect in it too.
"""

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import MissingProgram, ShoalError
from shoal.host import linux, programs
from shoal.runtime import oci_spec, processes, rootfs
from shoal.runtime.cgroups import Cgroups, Layout
from shoal.runtime.failures import COMMAND_NOT_FOUND, reason
from shoal.runtime.identity import Identity
from shoal.runtime.types import ContainerConfig
from shoal.runtime.workers import MountNamespace

log = logging.getLogger(__name__)

_UNIFIED = "/sys/fs/cgroup/unified"
_PROBE = "shoal-probe"
# Before it does anything, crun mounts its program read-only and starts itself again from there, so that no container
# can write to it through /proc/self/exe (CVE-2019-5736). That costs a mount, an unmount and a program start each time.
# If this variable says that it has done so, and its program is on a read-only mount, it goes on at once (crun and runc,
# cloned_binary.c). So the mount is made once, in the namespace in which crun is started.
_CLONED = {"_LIBCONTAINER_CLONED_BINARY": "1"}


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """A runtime that works on this host."""

    name: str  # crun, runc
    path: str
    root: Path  # the runtime's own state, below exec_root
    namespace: MountNamespace | None = None
    protected: bool = False  # the namespace has its program on a read-only mount

    def args(self, *rest: str) -> list[str]:
        """Return a command line of the runtime."""
        return [self.path, f"--root={self.root}", *rest]

    def spawn(
        self, args: Sequence[str], fds: dict[int, int], env: dict[str, str] | None = None, folder: str = "/"
    ) -> processes.Child:
        """Start the runtime, or conmon, in the runtime's mount namespace. For a worker thread."""
        environment = {"PATH": programs.search_path(), **(_CLONED if self.protected else {}), **(env or {})}
        with self.namespace.entered() if self.namespace else contextlib.nullcontext():
            os.chdir(folder)  # because entering a namespace changes the folder to its /
            try:
                return processes.spawn(args, environment, fds)
            finally:
                os.chdir("/")

    def run(self, *rest: str) -> tuple[int, str]:
        """Run it to its end, and return its exit code and output."""
        with tempfile.TemporaryFile() as said, open(os.devnull, "r+b") as null:
            with self.spawn(self.args(*rest), {0: null.fileno(), 1: said.fileno(), 2: said.fileno()}) as child:
                code = child.reap()
            said.seek(0)
            return code, said.read().decode(errors="replace")

    def start(self, id: str) -> None:  # noqa: A002 - a container's id
        """Let a created container's process run. Raises ShoalError.

        `crun start` opens the fifo at which the process waits, removes it and writes a byte. Doing the same here saves
        a process for each container. If the fifo cannot be opened, `crun start` is called.
        """
        if self.name == "crun":
            fifo = self.root / id / "exec.fifo"
            try:
                fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                log.debug("crun's fifo of %s cannot be opened", id)
            else:
                with open(fd, "wb", buffering=0) as waiting:
                    fifo.unlink()
                    waiting.write(b"\0")
                return
        code, said = self.run("start", id)
        if code:
            raise ShoalError(said.strip() or f"{self.name} start ended with {code}")

    def forget(self, id: str) -> None:  # noqa: A002
        """Remove the runtime's state of an ended container. May be repeated."""
        shutil.rmtree(self.root / id, ignore_errors=True)


def share(bundles: Path) -> None:
    """Make the folder of the bundles a shared mount, so that slave namespaces see the mounts in it. May be repeated.

    This is done for every runtime, because a later bind over existing mounts would keep those busy underneath.
    """
    if not rootfs.is_mount_point(bundles):
        linux.mount(str(bundles), str(bundles), flags=linux.MS_BIND | linux.MS_REC)
    linux.mount("", str(bundles), flags=linux.MS_SHARED)


def unshare(bundles: Path) -> None:
    """Undo `share`, unless a container has something mounted there."""
    if not rootfs.mounted_below(bundles):
        rootfs.unmount(bundles)


def probe(root: Path, bundles: Path, cgroups: Cgroups) -> OciRuntime:
    """Return the fastest runtime that works on this host. `bundles` must be shared. Blocking; for a worker thread.

    Raises MissingProgram if none is installed, ShoalError with the runtimes' reasons if none works.
    """
    if not rootfs.is_mount_point(Path("/")):
        # Every runtime first makes / private in a new mount namespace, which is only possible if / is a mount point.
        raise ShoalError(
            "/ is no mount point, as in a chroot, where no container can be made: enter it by a bind mount and "
            "pivot_root"
        )
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    refusals = []
    try:
        crun = OciRuntime("crun", programs.find("crun"), root)
    except MissingProgram as error:
        refusals.append(str(error))
    else:
        said = _try(crun, bundles, cgroups)
        if said is None:
            return _protected(crun, lambda: None)
        refusals.append(f"crun: {said}")
        if cgroups.layout is Layout.HYBRID and os.path.ismount(_UNIFIED):
            hidden = _protected(crun, lambda: linux.umount(_UNIFIED, linux.MNT_DETACH))
            said = _try(hidden, bundles, cgroups)
            if said is None:
                log.info("crun runs in a mount namespace without %s: %s", _UNIFIED, refusals[-1])
                return hidden
            refusals.append(f"crun without {_UNIFIED}: {said}")
    try:
        runc = OciRuntime("runc", programs.find("runc"), root)
    except MissingProgram as error:
        if isinstance(refusals, list) and len(refusals) == 1 and "not installed" in refusals[0]:
            raise MissingProgram("crun", "crun") from error
        refusals.append(str(error))
    else:
        said = _try(runc, bundles, cgroups)
        if said is None:
            log.warning("containers are started by runc, which is slower: %s", "; ".join(refusals))
            return runc
        refusals.append(f"runc: {said}")
    raise ShoalError(f"no container runtime works on this host: {'; '.join(refusals)}")


def _protected(crun: OciRuntime, prepare: Callable[[], None]) -> OciRuntime:
    """Return crun with a mount namespace of its own, in which its program is on a read-only mount."""

    def make() -> None:
        prepare()
        linux.mount(crun.path, crun.path, flags=linux.MS_BIND)
        linux.mount("", crun.path, flags=linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY)

    return OciRuntime(crun.name, crun.path, crun.root, MountNamespace(make), protected=True)


def _try(runtime: OciRuntime, bundles: Path, cgroups: Cgroups) -> str | None:
    """Try to create a container from an empty root. Return the reason for a failure.

    The command does not exist. If that is the only failure, everything else works, and None is returned.
    """
    name = f"{_PROBE}-{os.getpid()}"
    bundle = bundles / name
    (bundle / "rootfs").mkdir(mode=0o700, parents=True, exist_ok=True)
    given = oci_spec.SpecInput(
        config=ContainerConfig(name=name, image="", network="none"),
        args=(_PROBE,),
        env=("PATH=/bin",),
        cwd="/",
        identity=Identity(),
        hostname=name,
        capabilities=(),
        rootfs=str(bundle / "rootfs"),
        cgroup=cgroups.path(name),
        netns="",
        cgroup_namespace=cgroups.layout is Layout.UNIFIED,
        runtime=runtime.name,
    )
    try:
        (bundle / "config.json").write_text(json.dumps(oci_spec.build(given)))
        code, said = runtime.run("create", f"--bundle={bundle}", name)
        if code == 0:
            runtime.run("delete", "--force", name)
            return "it made a container without a program"
        return None if reason(said, _PROBE)[1] == COMMAND_NOT_FOUND else said.strip()
    finally:
        runtime.forget(name)
        cgroups.remove(name)
        shutil.rmtree(bundle)
