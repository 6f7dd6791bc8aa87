"""Makes a container ready to start: its root, files of /etc, mounts, and the OCI config that names them all.

Blocking; for worker threads. In: a Container and facts about the host. Out: a bundle on disk and the Launch for conmon.
May be repeated; it then makes everything again. `take_down` undoes it.
"""

import contextlib
import errno
import json
import os
import posixpath
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shoal.errors import InvalidArgument
from shoal.files import write_all
from shoal.host import linux
from shoal.network.names import resolvconf
from shoal.runtime import (
    capabilities,
    cdi_edits,
    confined,
    devices,
    failures,
    hostfiles,
    log_options,
    mount_targets,
    oci_spec,
    process,
    rootfs,
    seccomp,
    seccomp_bpf,
    seccomp_profile,
    secret_files,
)
from shoal.runtime.apparmor import UNCONFINED
from shoal.runtime.cgroups import Cgroups, Layout
from shoal.runtime.conmon import Launch
from shoal.runtime.devices import Devices
from shoal.runtime.host import Host, etc_hosts, init_program, resolv_conf
from shoal.runtime.identity import Identity, resolve
from shoal.runtime.log_options import LogDefault
from shoal.runtime.oci_runtime import OciRuntime
from shoal.runtime.types import Container, ContainerConfig, Mount, SecretFile

# Seconds. A process in an uninterruptible wait may stay longer; its cgroup is then removed at the next start.
_KILLED_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where containers are made."""

    host: Host
    conmon: str  # the program
    runtime: OciRuntime
    cgroups: Cgroups
    containers: Path  # paths.containers
    bundles: Path  # paths.bundles
    mountpoints: Path  # the lowest layer of every root
    logs: LogDefault = field(default_factory=LogDefault)
    devices: Devices = field(default_factory=Devices)

    def folder(self, id: str) -> Path:  # noqa: A002 - a container's id
        """Return the container's folder that survives a reboot."""
        return self.containers / id

    def bundle(self, id: str) -> Path:  # noqa: A002
        """Return the container's bundle, which does not survive a reboot."""
        return self.bundles / id


def set_up_root(site: Site, id: str, lower: list[str]) -> Path:  # noqa: A002
    """Mount a container's root and return its path. `lower` are the image's layers, topmost first."""
    bundle = site.bundle(id)
    if os.path.ismount(bundle / "rootfs"):
        return bundle / "rootfs"
    bundle.mkdir(mode=0o700, parents=True, exist_ok=True)
    rootfs.prepare(site.folder(id))
    rootfs.mount([*lower, str(site.mountpoints)], site.folder(id), bundle)
    return bundle / "rootfs"


def write(site: Site, container: Container, lower: list[str], files: Sequence[SecretFile] = ()) -> Launch:
    """Write everything that conmon and the runtime need to start a container. `files`: its secrets and configs.

    Raises StartFailed, InvalidArgument, FailedPrecondition, ShoalError, OSError.
    """
    root = set_up_root(site, container.id, lower)
    bundle = site.bundle(container.id)
    identity = identity_of(root, container.user, container.config.groups)
    config = container.config
    etc = write_etc(site.folder(container.id), container)
    edits = site.devices.edits(config.generic)
    given = cdi_edits.binds(edits)
    secret_files.check_targets(files, container.mounts)
    secrets = secret_files.put(bundle, files)
    own = (*container.mounts, *secrets)
    own_sources = {**container.mount_sources, **{each.target: each.source for each in secrets}}
    mounts = (*(one for one in own if one.target not in {each.target for each in given}), *given)
    mount_sources = {**own_sources, **{each.target: each.source for each in given}}
    if why := mount_targets.refusal(str(root), etc, mounts, mount_sources):
        raise failures.start_failed(site.runtime.name, f"error during container init: {why}", container.path)
    names = capabilities.effective(config.cap_add, config.cap_drop, site.host.available)
    sources = _visible(site, bundle, mounts, mount_sources)
    spec = oci_spec.build(
        oci_spec.SpecInput(
            config=config,
            args=(container.path, *container.args),
            env=process.environment(container.env, hostname(container), identity.home, tty=config.tty),
            cwd=container.working_dir,
            identity=identity,
            hostname=hostname(container),
            capabilities=names,
            rootfs=str(root),
            cgroup=site.cgroups.path(container.id),
            netns=_netns(site, container),
            etc=etc,
            mounts=own,
            mount_sources=sources,
            folders=frozenset(target for target, path in sources.items() if os.path.isdir(path)),
            covered_modes=mount_targets.covered_modes(str(root), own, own_sources),
            seccomp=_seccomp(site, container, names),
            annotations=_annotations(site, container, names),
            apparmor=container.apparmor_profile if container.apparmor_profile != UNCONFINED else "",
            init=init_program() if config.init else "",
            cgroup_namespace=site.cgroups.layout is Layout.UNIFIED,
            runtime=site.runtime.name,
            swap_accounting=site.cgroups.swap_accounting,
            masked=site.host.masked,
        )
    )
    spec = cdi_edits.apply(spec, cdi_edits.at(edits, sources), devices.look)
    (bundle / "config.json").write_text(json.dumps(spec))
    return Launch(
        id=container.id,
        bundle=bundle,
        log_path=container.log_path,
        command=container.path,
        tty=config.tty,
        stdin=config.open_stdin,
        log_size_max=log_options.limits(config.log_options).size_bytes,
        below_proc=mount_targets.expected_below_proc((*site.host.masked, *oci_spec.READ_ONLY), container.mounts),
    )


def take_down(site: Site, id: str) -> None:  # noqa: A002
    """Unmount what an ended container used, and remove its cgroup. Its writable layer, log and state stay."""
    bundle = site.bundle(id)
    rootfs.unmount(bundle / "rootfs")
    secret_files.take_away(bundle)
    for point in _staged(bundle):
        rootfs.unmount(point)
    # The cgroup is empty, unless conmon was killed and the container was not. Killed processes take a while to go.
    deadline = time.monotonic() + _KILLED_WITHIN
    while not site.cgroups.remove(id) and time.monotonic() < deadline:
        site.cgroups.kill(id)
        time.sleep(0.01)
    site.runtime.forget(id)


def remove(site: Site, id: str) -> None:  # noqa: A002
    """Take down, and remove the bundle."""
    take_down(site, id)
    bundle = site.bundle(id)
    try:
        confined.remove_tree(bundle)
    except FileNotFoundError:
        return
    except OSError:
        # Something is still mounted below. It must be unmounted first, so that nothing in it is removed.
        rootfs.unmount_below(bundle)
        confined.remove_tree(bundle)


def hostname(container: Container) -> str:
    """Return a container's host name. On the host's network the default is the host's own."""
    if container.config.hostname:
        return container.config.hostname
    return os.uname().nodename if container.config.network == "host" else container.id[:12]


def identity_of(root: Path, user: str, groups: tuple[str, ...]) -> Identity:
    """Return the identity of `user` from the user database inside a root. Raises InvalidArgument."""
    passwd = confined.read_text(root, "/etc/passwd")
    group = confined.read_text(root, "/etc/group")
    return resolve(user, groups, passwd, group)


def _named_addresses(container: Container) -> Sequence[str]:
    """Return the addresses that stand beside its name: on overlays all but ingress, which it has no interface on.

    One that is on no other overlay has its place on the host's bridge alone.
    """
    ingress = {each.overlay.id for each in container.config.attachments if each.overlay.ingress}
    sandbox = container.sandbox
    named = [one for one in sandbox.endpoints if one.network_id not in ingress]
    found = [address for one in named for address in (one.address, one.address6) if address]
    return found or ([sandbox.way_out.address] if sandbox.way_out else [])


def _resolv_conf(config: ContainerConfig) -> str:
    if config.attachments:  # it gets our DNS server, which asks the container's own servers
        return resolvconf.resolv_conf(resolv_conf(), config.dns_search, config.dns_options)
    on_host = config.network == "host"
    return hostfiles.resolv_conf(
        resolv_conf(), config.dns, config.dns_search, config.dns_options, keep_loopback=on_host
    )


def write_etc(folder: Path, container: Container) -> dict[str, str]:
    """Write hosts, hostname and resolv.conf. Return a map from path in the container to path on the host.

    `folder` is on the data root, not on the small disk of the exec root: a container may write to these files, and a
    full exec root would stop every start and exec on this host.
    """
    config = container.config
    on_host = config.network == "host"
    texts = {
        "hosts": hostfiles.hosts(
            hostname(container),
            config.domainname,
            _named_addresses(container),
            config.hosts,
            etc_hosts() if on_host else None,
        ),
        "hostname": hostname(container) + "\n",
        "resolv.conf": _resolv_conf(config),
    }
    sources = {}
    for name, text in texts.items():
        path = folder / name
        path.unlink(missing_ok=True)
        # A new file each time, so that a process of an earlier start that still has the old one open cannot change it.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)  # despite the umask, because every user in the container reads it
            write_all(fd, text.encode())
        finally:
            os.close(fd)
        sources[f"/etc/{name}"] = str(path)
    return sources


def missing_source(path: str) -> InvalidArgument:
    """Return the error for a bind mount without a source, in Docker's words."""
    return InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {path}')


def check_binds(mounts: tuple[Mount, ...]) -> None:
    """Check that the source of every bind exists, or make it if the mount asks for that. Raises InvalidArgument."""
    for mount in mounts:
        if mount.type != "bind" or os.path.lexists(mount.source):
            continue
        if not mount.create_mountpoint:
            raise missing_source(mount.source)
        os.makedirs(mount.source, mode=0o755, exist_ok=True)


def open_subpath(mountpoint: str, subpath: str) -> int:
    """Open a path inside a volume; no link can lead out of the volume. Raises InvalidArgument if it does not exist."""
    root = os.open(mountpoint, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return linux.open_in_root(root, subpath, os.O_PATH)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        raise InvalidArgument(f"cannot access path {posixpath.join(mountpoint, subpath)}: no such file") from error
    finally:
        os.close(root)


def check_subpath(mountpoint: str, subpath: str) -> None:
    """Raise InvalidArgument if the path does not exist in the volume."""
    os.close(open_subpath(mountpoint, subpath))


def _netns(site: Site, container: Container) -> str:
    path = container.sandbox.netns
    if path and site.runtime.namespace is not None:
        # It was pinned after the runtime's mount namespace was made, so it must be reached through ours. Only `create`
        # opens it.
        return f"/proc/{os.getpid()}/root{path}"
    return path


def _seccomp(site: Site, container: Container, names: tuple[str, ...]) -> dict[str, object] | None:
    wanted = container.config.seccomp
    if wanted == "unconfined":
        return None
    if wanted in ("", "default"):
        return site.host.seccomp(names)
    return seccomp.translate(seccomp_profile.read(wanted), names, site.host.machine)


def _annotations(site: Site, container: Container, names: tuple[str, ...]) -> dict[str, str]:
    if container.config.seccomp not in ("", "default") or site.runtime.name != "crun":
        return {}
    program = site.host.seccomp_program(names)
    return {seccomp_bpf.ANNOTATION: program} if program else {}


def _visible(site: Site, bundle: Path, mounts: tuple[Mount, ...], mount_sources: Mapping[str, str]) -> dict[str, str]:
    """Return the mount sources with paths that are valid in the runtime's mount namespace.

    A subpath of a volume is opened and bound below the bundle by its descriptor, because another container with the
    volume could replace the path by a link. If the host's mounts are private, the runtime's namespace does not have
    mounts that were made after it. A source on such a mount is bound below the bundle as well, which is shared.
    """
    sources = {mount.target: mount_sources[mount.target] for mount in mounts if _has_source(mount)}
    for mount in mounts:
        if mount.type == "bind" and not os.path.lexists(mount.source):
            raise missing_source(mount.source)
    points = {target: bundle / f"m{number}" for number, target in enumerate(sorted(sources))}
    for mount in mounts:
        if mount.type == "volume" and mount.subpath:
            sources[mount.target] = _stage_subpath(points[mount.target], sources[mount.target], mount.subpath)
    if site.runtime.namespace is None or not sources:
        return sources
    here = {target: _identity(path) for target, path in sources.items()}
    with site.runtime.namespace.entered():
        there = {target: _identity(path) for target, path in sources.items()}
    for target, point in points.items():
        if here[target] != there[target] and sources[target] != str(point):
            sources[target] = _stage(point, sources[target])
    return sources


def _has_source(mount: Mount) -> bool:
    return mount.type != "tmpfs"


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stage(point: Path, source: str) -> str:
    rootfs.unmount(point)
    if point.is_dir():  # from an earlier start; the source may be a file by now
        point.rmdir()
    point.unlink(missing_ok=True)
    if stat.S_ISDIR(os.stat(source).st_mode):
        point.mkdir(mode=0o700)
    else:
        point.touch(mode=0o600)
    linux.mount(source, str(point), flags=linux.MS_BIND | linux.MS_REC)
    return str(point)


def _stage_subpath(point: Path, mountpoint: str, subpath: str) -> str:
    fd = open_subpath(mountpoint, subpath)
    try:
        return _stage(point, f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _staged(bundle: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(bundle):
            if entry.name.startswith("m") and entry.name[1:].isdigit():
                yield Path(entry.path)
