"""Finds the OCI runtime that works on this host, and calls it.

`probe` tries crun, then crun where the v2 half of a hybrid cgroup tree is hidden (crun refuses such hosts as they are),
then runc. crun runs in a mount namespace that protects its program. Blocking, in worker threads. In: bundles and
argument lists. Out: child processes.

The namespace is ours alone: nothing pins it but this process and the conmons in it, so nothing has to be removed. It is
a slave of the host's, and bundles lie on a shared mount, so what is mounted there later appears in it too, and goes.
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
# crun runs itself anew from a read-only mount of its program before it does anything, so that no container can write
# to it through /proc/self/exe (CVE-2019-5736): a mount, an unmount and a second program start each time. Told by this
# variable that it has done so, and finding its program on a read-only mount, it goes on at once (crun and runc,
# cloned_binary.c). The mount is made once, in the namespace that it is started in.
_CLONED = {"_LIBCONTAINER_CLONED_BINARY": "1"}


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """A runtime that works here."""

    name: str  # crun, runc
    path: str
    root: Path  # its own state, below exec_root
    namespace: MountNamespace | None = None
    protected: bool = False  # the namespace has its program on a read-only mount

    def args(self, *rest: str) -> list[str]:
        """A command line."""
        return [self.path, f"--root={self.root}", *rest]

    def spawn(
        self, args: Sequence[str], fds: dict[int, int], env: dict[str, str] | None = None, folder: str = "/"
    ) -> processes.Child:
        """Start the runtime, or conmon above it, where it works. In a worker thread."""
        environment = {"PATH": programs.search_path(), **(_CLONED if self.protected else {}), **(env or {})}
        with self.namespace.entered() if self.namespace else contextlib.nullcontext():
            os.chdir(folder)  # stepping into a namespace goes to its /
            try:
                return processes.spawn(args, environment, fds)
            finally:
                os.chdir("/")

    def run(self, *rest: str) -> tuple[int, str]:
        """Run it to its end: exit code and what it said."""
        with tempfile.TemporaryFile() as said, open(os.devnull, "r+b") as null:
            with self.spawn(self.args(*rest), {0: null.fileno(), 1: said.fileno(), 2: said.fileno()}) as child:
                code = child.reap()
            said.seek(0)
            return code, said.read().decode(errors="replace")

    def start(self, id: str) -> None:  # noqa: A002 - a container's id
        """Let a created container's process run.

        `crun start` opens the fifo that the process waits at, removes it and writes a byte. Doing the same here saves
        a process for each container; anything unexpected is left to `crun start` itself.
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
        """Remove what the runtime remembers of an ended container. May be repeated."""
        shutil.rmtree(self.root / id, ignore_errors=True)


def share(bundles: Path) -> None:
    """Make the folder of the bundles a mount of its own whose mounts slaves see. May be repeated.

    Done whatever the runtime is: binding it later, over mounts that are there, would keep those busy underneath.
    """
    if not rootfs.is_mount_point(bundles):
        linux.mount(str(bundles), str(bundles), flags=linux.MS_BIND | linux.MS_REC)
    linux.mount("", str(bundles), flags=linux.MS_SHARED)


def unshare(bundles: Path) -> None:
    """Undo `share`, unless a container has something mounted there."""
    if not rootfs.mounted_below(bundles):
        rootfs.unmount(bundles)


def probe(root: Path, bundles: Path, cgroups: Cgroups) -> OciRuntime:
    """The fastest runtime that works on this host; `bundles` is shared. Blocking; in a worker thread.

    Raises MissingProgram where neither is installed, ShoalError with the runtimes' words where none works.
    """
    if not rootfs.is_mount_point(Path("/")):
        # Every runtime begins with a mount namespace where / passes nothing on, which can be said of mounts alone.
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
    """crun in a mount namespace of its own, where its program cannot be written to."""

    def make() -> None:
        prepare()
        linux.mount(crun.path, crun.path, flags=linux.MS_BIND)
        linux.mount("", crun.path, flags=linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY)

    return OciRuntime(crun.name, crun.path, crun.root, MountNamespace(make), protected=True)


def _try(runtime: OciRuntime, bundles: Path, cgroups: Cgroups) -> str | None:
    """Create a container from an empty root. None when only its command was missing: all else works."""
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
