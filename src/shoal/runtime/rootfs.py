"""A container's root: the image's layers with a writable one on top.

Blocking; for worker threads. In: layer folders, a container's folders. Out: a mounted `rootfs`; `confined.py` reads in
it.
"""

import errno
import os
from pathlib import Path

from shoal.host import linux
from shoal.runtime import workers

# Bytes. mount(2) takes one page of options. If the options are longer than this, layers are named by short links.
_OPTIONS_LIMIT = 3500


def prepare(folder: Path) -> None:
    """Make the writable layer's folders. May be repeated."""
    for name, mode in (("upper", 0o755), ("work", 0o700)):
        try:
            os.mkdir(f"{folder}/{name}", mode)
        except FileExistsError:
            continue
        os.chmod(f"{folder}/{name}", mode)  # mkdir applies the umask; `upper` becomes the container's /


def make_mountpoints(layer: Path) -> None:
    """Make a layer with the mount points of the runtime. It is the lowest layer of every root. May be repeated.

    Without it, the runtime would make the missing mount points of an image in each writable layer, and overlayfs would
    copy the image's /etc there. Docker has such a layer too (moby daemon/initlayer), but one for each container.
    """
    for name in ("", "dev", "etc", "proc", "sys"):
        (layer / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        (layer / name).chmod(0o755)
    for name in ("hosts", "hostname", "resolv.conf"):
        (layer / "etc" / name).touch(mode=0o644)
        (layer / "etc" / name).chmod(0o644)


def mount(lower: list[str], folder: Path, bundle: Path) -> None:
    """Mount the layers, and the writable one in `folder`, at `bundle`/rootfs. Does nothing if it is mounted."""
    target = bundle / "rootfs"
    if os.path.ismount(target):
        return
    target.mkdir(mode=0o755, exist_ok=True)
    options = _options(lower, str(folder / "upper"), str(folder / "work"))
    if len(options) <= _OPTIONS_LIMIT and not _awkward([*lower, str(folder)]):
        linux.mount("overlay", str(target), "overlay", 0, options)
        return
    links = bundle / "l"
    links.mkdir(mode=0o700, exist_ok=True)
    names = []
    for number, path in enumerate([*lower, str(folder / "upper"), str(folder / "work")]):
        link = links / f"{number:x}"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        names.append(f"l/{number:x}")
    with workers.folder(str(bundle)):
        linux.mount("overlay", str(target), "overlay", 0, _options(names[:-2], names[-2], names[-1]))


def _options(lower: list[str], upper: str, work: str) -> str:
    return f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work}"


def _awkward(paths: list[str]) -> bool:
    return any(sign in path for path in paths for sign in ":,\\")


def unmount(target: Path) -> None:
    """Unmount everything that is mounted at a path. May be repeated."""
    while True:
        try:
            linux.umount(str(target), linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # not mounted, not there
                return
            raise


def unmount_below(folder: Path) -> None:
    """Unmount everything that is mounted below a folder, innermost first."""
    for point in sorted(mounted_below(folder), key=len, reverse=True):
        unmount(Path(point))


def mounted_below(folder: Path) -> list[str]:
    """Return the mount points below a folder."""
    return [point for point in _mount_points() if point.startswith(f"{folder}/")]


def is_mount_point(path: Path) -> bool:
    """Return whether something is mounted at a path. os.path.ismount misses a bind mount of the same file system."""
    return str(path) in _mount_points()


def _mount_points() -> list[str]:
    return mount_points_in(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))


def mount_points_in(mountinfo: str) -> list[str]:
    """Return the mount points of a mountinfo file in the order of mounting."""
    # Names may contain other characters that Python takes for blanks or ends of lines.
    return [_unescape(line.split(" ")[4]) for line in mountinfo.split("\n") if line]


def _unescape(text: str) -> str:
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, sign)
    return text
