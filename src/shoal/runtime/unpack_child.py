"""A separate program that unpacks one tar from its standard input into one folder and cannot write outside of it.

The tar is not trusted: it may have names with `..`, symbolic links out of the folder, hard links to the host's files.
Before it reads the first entry, this process makes the folder its root (chroot), so that every path is inside. That is
why it is a process and not a function. It also keeps the work out of the daemon's interpreter. It only uses the
standard library. `layers.py` starts it as `python -I -S unpack_child.py layer|archive FOLDER ZSTD-PROGRAM`.

`layer`: an image layer. Owners, modes, times and attributes are kept. Whiteouts become those of overlayfs (character
device 0/0, `trusted.overlay.opaque`). Other device nodes are left out, because they would be the host's devices, and a
container gets its own /dev. `archive`: a `docker save` archive; its plain files become root's, with mode 0600.

Out, on standard output: one JSON object, `{"diff_id", "digest", "size", "entries"}` or `{"error", "kind"}`. `digest` is
that of the input, `diff_id` that of the tar inside.
"""

import bz2
import encodings.ascii
import encodings.latin_1
import hashlib
import json
import lzma
import os
import resource
import stat
import subprocess
import sys
import tarfile
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Protocol

# Everything must be imported before the chroot; after it, there is no library to import from.
_PRELOADED = (encodings.ascii, encodings.latin_1, traceback)

MAX_ENTRIES = 2_000_000  # more are refused; the largest public images have about 500,000
# Bytes that may follow the end of a tar, because some tools pad it to megabytes. There is a limit, because compressed
# zeros cost an attacker a thousandth of what it costs to read them.
MAX_TRAILING_BYTES = 64 << 20
MAX_MEMORY_BYTES = 2 << 30  # a header that claims gigabytes ends in MemoryError, not in the host's swap
CHUNK_BYTES = 256 * 1024
# The reserve of the disk that no tar may use: 1/20, but at most this much. The daemon, its store and all containers
# usually write to the same disk, and a small layer may unpack to any size.
RESERVED_SHARE, RESERVED_BYTES_MOST, RESERVED_INODES_MOST = 20, 1 << 30, 10_000
# Bytes and entries that are written before the free space is checked again.
LOOK_AFTER_BYTES, LOOK_AFTER_ENTRIES = 1 << 20, 100
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_KEPT_ATTRIBUTES = ("user.", "security.capability", "system.posix_acl_")
# Attributes that overlayfs itself reads: a layer that sets them could point at other layers' files.
_REFUSED_ATTRIBUTES = ("user.overlay.", "trusted.")


class Refused(Exception):
    """The tar is refused. The text says why."""


class NoRoom(Exception):
    """The disk would be too full. The text says so."""


class Decompressor(Protocol):
    """The common part of zlib, bz2 and lzma."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Input:
    """The compressed stream, hashed as it is read."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._first = b""
        self.hash = hashlib.sha256()

    def peek(self, count: int) -> bytes:
        while len(self._first) < count and (more := self._file.read(count - len(self._first))):
            self._first += more
        return self._first

    def chunks(self) -> Iterator[bytes]:
        while chunk := self._first or self._file.read(CHUNK_BYTES):
            self._first = b""
            self.hash.update(chunk)
            yield chunk


def _decompress(source: _Input, zstd: str) -> Iterator[bytes]:
    magic = source.peek(6)
    if magic.startswith(b"\x1f\x8b"):
        yield from _streams(source, lambda: zlib.decompressobj(31))
    elif magic.startswith(b"BZh"):
        yield from _streams(source, bz2.BZ2Decompressor)
    elif magic.startswith(b"\xfd7zXZ\0"):
        yield from _streams(source, lzma.LZMADecompressor)
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        yield from _zstd(source, zstd)
    else:
        yield from source.chunks()


def _streams(source: _Input, make: Callable[[], Decompressor]) -> Iterator[bytes]:
    """Decompress one stream after the other, because gzip, bzip2 and xz files may be joined."""
    current: Decompressor | None = None
    for chunk in source.chunks():
        while chunk:
            if current is None:
                current = make()
            # A chunk may grow a thousandfold, to 256 MiB, which is within the memory limit.
            if data := current.decompress(chunk):
                yield data
            chunk = b""
            if current.eof:
                # Zeros after the end are padding.
                chunk, current = current.unused_data.lstrip(b"\0"), None
    if current is not None:
        raise Refused("unexpected EOF")


def _zstd(source: _Input, program: str) -> Iterator[bytes]:
    if not program:
        raise Refused("zstd is not installed")
    process = subprocess.Popen([program, "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    to_zstd = process.stdin

    def feed() -> None:
        with to_zstd:
            try:
                for chunk in source.chunks():
                    to_zstd.write(chunk)
            except BrokenPipeError:
                pass  # zstd has ended; its exit code tells

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    while chunk := process.stdout.read(CHUNK_BYTES):
        yield chunk
    feeder.join()
    if process.wait() != 0:
        raise Refused("the zstd data is damaged")


class _Tar:
    """The decompressed stream as a file for tarfile, hashed as it is read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self.hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        if not self._rest:
            chunk = next(self._chunks, b"")
            self.hash.update(chunk)
            self._rest = memoryview(chunk)
        data = self._rest[:size]
        self._rest = self._rest[size:]
        return bytes(data)

    def drain(self) -> None:
        """Read what follows the end of the tar, because it is part of the digest. Raises Refused if it is too much."""
        left = MAX_TRAILING_BYTES
        while chunk := self.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise Refused(f"more than {MAX_TRAILING_BYTES >> 20} MiB after its end")


def room(folder: str) -> tuple[int, int]:
    """Return how many bytes and inodes of a folder's disk may still be used."""
    found = os.statvfs(folder)
    reserved = min(found.f_blocks * found.f_frsize // RESERVED_SHARE, RESERVED_BYTES_MOST)
    inodes = found.f_favail - min(found.f_files // RESERVED_SHARE, RESERVED_INODES_MOST)
    # Some file systems make inodes as needed, and report 0.
    return found.f_bavail * found.f_frsize - reserved, inodes if found.f_files else MAX_ENTRIES


def need_room(folder: str, size: int, entries: int = 0) -> None:
    """Raise NoRoom unless there is room for so many bytes and entries."""
    left, inodes = room(folder)
    if size > left or entries > inodes:
        raise NoRoom("no space left on device: what is left of it is kept for what runs on this host")


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. At the end of a disk, os.write writes only a part, and the next call fails."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Unpacker:
    """Writes the entries of one tar below `/`, which the caller has changed to the folder to fill."""

    def __init__(self, *, layer: bool) -> None:
        self._layer = layer
        self._folders = {"/"}  # folders that exist, to save system calls
        self._whiteouts: set[str] = set()
        self._times: dict[str, int] = {}
        self._unlooked = 0  # bytes written since the free space was checked
        self.entries = 0
        self.size = 0

    def unpack(self, source: "tarfile._Fileobj") -> None:
        """Unpack all entries. Raises OSError, tarfile.TarError, Refused, NoRoom."""
        with tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK_BYTES, errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # otherwise it keeps all entries in memory
                self.entries += 1
                if self.entries > MAX_ENTRIES:
                    raise Refused(f"more than {MAX_ENTRIES} entries")
                if self.entries % LOOK_AFTER_ENTRIES == 1:
                    need_room("/", 0, LOOK_AFTER_ENTRIES)
                self._entry(tar, member)
        for path, at in self._times.items():
            try:
                os.utime(path, ns=(at, at), follow_symlinks=False)
            except FileNotFoundError:
                continue  # replaced by a later entry

    def _entry(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = inside(member.name)
        parent, _, name = path.rpartition("/")
        self._need_folder(parent or "/")
        if self._layer and name.startswith(WHITEOUT):
            self._whiteout(parent or "/", name)
        elif member.isdir():
            self._folder(path, member)
        elif path == "/":
            raise Refused(f'"{member.name}" is not a folder')
        elif member.isreg():
            self._file(tar, member, path)
        elif member.issym():
            self._new(path, lambda: os.symlink(member.linkname, path))
            self._finish(path, member)
        elif member.islnk():
            target = inside(member.linkname)
            if target != path:
                self._new(path, lambda: os.link(target, path, follow_symlinks=False))
        elif member.isfifo() and self._layer:
            self._new(path, lambda: os.mkfifo(path, 0o600))
            self._finish(path, member)

    def _new(self, path: str, make: Callable[[], None]) -> None:
        """Make a new entry. An earlier entry with the same name is removed."""
        try:
            make()
        except FileExistsError:
            self._clear(path)
            make()

    def _clear(self, path: str) -> None:
        self._whiteouts.discard(path)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            for folder, folders, files in os.walk(path, topdown=False):
                for name in files:
                    os.unlink(os.path.join(folder, name))
                for name in folders:
                    full = os.path.join(folder, name)
                    os.unlink(full) if os.path.islink(full) else os.rmdir(full)
            os.rmdir(path)
            self._folders = {known for known in self._folders if known != path and not known.startswith(f"{path}/")}
        else:
            os.unlink(path)

    def _need_folder(self, path: str) -> None:
        if path in self._folders:
            return
        self._need_folder(path.rpartition("/")[0] or "/")
        if path in self._whiteouts:
            self._replace_whiteout(path)
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            # A symbolic link to a folder is accepted; it is followed inside our root.
            if not stat.S_ISDIR(os.stat(path).st_mode):
                self._clear(path)
                os.mkdir(path, 0o755)
        self._folders.add(path)

    def _replace_whiteout(self, path: str) -> None:
        """Replace a whiteout by an opaque folder: the layer has both, so the folder hides the one below."""
        self._clear(path)
        os.mkdir(path, 0o755)
        os.setxattr(path, "trusted.overlay.opaque", b"y")

    def _whiteout(self, parent: str, name: str) -> None:
        if name == OPAQUE:
            os.setxattr(parent, "trusted.overlay.opaque", b"y")
            return
        if name.startswith(WHITEOUT * 2):
            return  # internal entries of aufs
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise Refused(f'invalid whiteout "{name}"')
        path = f"{parent.rstrip('/')}/{hidden}"
        try:
            kind = os.lstat(path).st_mode
        except FileNotFoundError:
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
            self._whiteouts.add(path)
            return
        if stat.S_ISDIR(kind):
            os.setxattr(path, "trusted.overlay.opaque", b"y")

    def _folder(self, path: str, member: tarfile.TarInfo) -> None:
        if path not in self._folders:
            if path in self._whiteouts:
                self._replace_whiteout(path)
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    self._clear(path)
                    os.mkdir(path, 0o700)
            self._folders.add(path)
        self._finish(path, member)
        self._times[path] = int(member.mtime * 1_000_000_000)

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            self._clear(path)
            descriptor = os.open(path, flags, 0o600)
        try:
            source = tar.fileobj
            assert source is not None
            source.seek(member.offset_data)
            parts = getattr(member, "sparse", None) or ((0, member.size),)
            need = sum(length for _, length in parts)
            if need > LOOK_AFTER_BYTES:
                need_room("/", need)
            for offset, length in parts:
                os.lseek(descriptor, offset, os.SEEK_SET)
                while length:
                    data = source.read(min(length, CHUNK_BYTES))
                    if not data:
                        raise Refused("unexpected EOF")
                    self._write(descriptor, data)
                    length -= len(data)
            if getattr(member, "sparse", None):
                os.ftruncate(descriptor, member.size)
            self.size += member.size
            self._finish(descriptor, member)
        finally:
            os.close(descriptor)

    def _write(self, descriptor: int, data: bytes) -> None:
        write_all(descriptor, data)
        self._unlooked += len(data)
        if self._unlooked >= LOOK_AFTER_BYTES:
            self._unlooked = 0
            need_room("/", 0)

    def _finish(self, target: int | str, member: tarfile.TarInfo) -> None:
        """Set owner, mode, attributes and times. The owner is first, because changing it clears set-uid bits."""
        if not self._layer:
            return
        at = int(member.mtime * 1_000_000_000)
        if member.issym():
            os.chown(target, member.uid, member.gid, follow_symlinks=False)
            os.utime(target, ns=(at, at), follow_symlinks=False)
            return
        os.chown(target, member.uid, member.gid)
        os.chmod(target, member.mode & 0o7777)
        self._attributes(target, member)
        os.utime(target, ns=(at, at))

    def _attributes(self, target: int | str, member: tarfile.TarInfo) -> None:
        for key, value in member.pax_headers.items():
            name = key.removeprefix("SCHILY.xattr.")
            if name != key and name.startswith(_KEPT_ATTRIBUTES) and not name.startswith(_REFUSED_ATTRIBUTES):
                try:
                    os.setxattr(target, name, value.encode("utf-8", "surrogateescape"))
                except OSError:
                    if name == "security.capability":
                        raise  # without its capabilities a program fails; other attributes are optional


_INPUT_ERRORS = (
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    Refused,
    ValueError,
    OverflowError,
    RecursionError,
)


def inside(name: str) -> str:
    """Return an entry's name as a path below `/`. As in Docker, a `..` that leads out of it raises Refused."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise Refused(f'"{name}" is outside of the image')
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def main(kind: str, folder: str, zstd: str) -> dict[str, object]:
    """Unpack standard input into `folder`, and return the report."""
    source = _Input(FileIO(0, closefd=False))
    tar = _Tar(_decompress(source, zstd))
    if source.peek(6).startswith(b"\x28\xb5\x2f\xfd"):
        tar.read(0)  # starts zstd while its program can still be reached
    os.chroot(folder)
    os.chdir("/")
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    unpacker = Unpacker(layer=kind == "layer")
    unpacker.unpack(tar)  # type: ignore[arg-type]
    tar.drain()
    return {
        "diff_id": f"sha256:{tar.hash.hexdigest()}",
        "digest": f"sha256:{source.hash.hexdigest()}",
        "size": unpacker.size,
        "entries": unpacker.entries,
    }


def tell(kind: str, folder: str, zstd: str) -> dict[str, object]:
    """Unpack, and return the report or an error, whose `kind` says whether the tar or this host is at fault."""
    try:
        return main(kind, folder, zstd)
    except MemoryError:
        return {"error": "a header or a compressed block needs too much memory", "kind": "input"}
    except OSError as problem:
        return {"error": f"{problem.filename}: {problem.strerror}".removeprefix("None: "), "kind": "system"}
    except NoRoom as problem:
        return {"error": str(problem), "kind": "system"}
    except _INPUT_ERRORS as problem:
        return {"error": str(problem) or type(problem).__name__, "kind": "input"}


if __name__ == "__main__":
    print(json.dumps(tell(*sys.argv[1:])))  # noqa: T201 - a program
