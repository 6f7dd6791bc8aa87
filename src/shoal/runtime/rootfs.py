"""A container's root: the image's layers with a writable one on top, and safe reading inside it.

Blocking; for worker threads. In: layer folders, a container's folders. Out: a mounted `rootfs`, the texts of files
that an image brought along, which may be anything.
"""

import errno
import os
import stat
import subprocess
from pathlib import Path

from shoal.errors import ShoalError
from shoal.runtime import linux, programs, workers

# mount(2) takes one page of options; with more than this the layers are named through short links.
_OPTIONS_LIMIT = 3500

# The largest /etc/passwd or /etc/group that is read: thousands of users.
_FILE_LIMIT = 1 << 20


def prepare(folder: Path) -> None:
    """Make the writable layer's folders. May be repeated."""
    for name, mode in (("upper", 0o755), ("work", 0o700)):
        try:
            os.mkdir(f"{folder}/{name}", mode)
        except FileExistsError:
            continue
        os.chmod(f"{folder}/{name}", mode)  # mkdir takes the umask away; `upper` becomes the container's /


def make_mountpoints(layer: Path) -> None:
    """Make a layer of what the runtime mounts over, to be the lowest of every root. May be repeated.

    Where an image lacks these, the runtime would make them in each writable layer, and copy the image's /etc up for it.
    Docker has a layer for that too (moby daemon/initlayer), but one for each container.
    """
    for name in ("", "dev", "etc", "proc", "sys"):
        (layer / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        (layer / name).chmod(0o755)
    for name in ("hosts", "hostname", "resolv.conf"):
        (layer / "etc" / name).touch(mode=0o644)
        (layer / "etc" / name).chmod(0o644)


def mount(lower: list[str], folder: Path, bundle: Path) -> None:
    """Mount the layers and `folder`'s writable one at `bundle`/rootfs. Nothing happens where that is done."""
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
    """Unmount whatever is mounted at a path. May be repeated."""
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
    """The mount points below a folder."""
    return [point for point in _mount_points() if point.startswith(f"{folder}/")]


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted at a path. os.path.ismount does not see a bind mount of the same filesystem."""
    return str(path) in _mount_points()


def _mount_points() -> list[str]:
    return [_unescape(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def _unescape(text: str) -> str:
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, sign)
    return text


def read_text(root: Path, path: str) -> str:
    """A small text file inside a root, whatever links the image set up; empty when there is none."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # O_NONBLOCK: a fifo in the image must not make us wait.
        fd = linux.open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENXIO):
            return ""
        raise
    finally:
        os.close(root_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return ""
    with open(fd, "rb") as file:
        return file.read(_FILE_LIMIT).decode(errors="replace")


def copy_up(root: Path, target: str, volume: str) -> None:
    """Fill an empty volume with what the image has at a path. A volume with something in it is left as it is."""
    if any(name != "lost+found" for name in os.listdir(volume)):
        return
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = linux.open_in_root(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise
    finally:
        os.close(root_fd)
    try:
        # cp keeps owners, modes, times, links and attributes; the folder itself gives the volume's its own.
        done = subprocess.run(
            [programs.find("cp"), "-a", "--", f"/proc/self/fd/{fd}/.", f"{volume}/"],
            pass_fds=(fd,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    finally:
        os.close(fd)
    if done.returncode:
        raise ShoalError(f"failed to copy {target} into the volume: {done.stderr.decode(errors='replace').strip()}")
