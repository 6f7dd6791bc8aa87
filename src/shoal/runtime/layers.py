"""Image layers on disk: each once, by the digest of its tar, unpacked as a lower folder for overlayfs.

    layers/<hex of diff id>/fs      the files
    layers/<hex of diff id>/layer.json
    l/<short>                       symbolic link to .../fs: mount options have 4096 bytes for up to 127 folders

`unpack_child.py` unpacks tars and cannot leave the new folder, which is renamed into place when it is complete. All
folders above `fs` are 0700, so that users of the host cannot run an image's set-uid programs.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shoal import spawning
from shoal.errors import InvalidArgument, MissingProgram, ShoalError
from shoal.host import programs
from shoal.json_text import BadJson, read_json
from shoal.runtime import confined, unpack_child
from shoal.runtime.references import is_digest

SHORT_CHARACTERS = 13  # hex digits, 52 bits; if another layer has the link already, a longer one is used
MAX_REPORT_BYTES = 64 * 1024
# Docker's limit: moby layer/layer.go, maxLayerDepth; overlayfs itself takes 500.
MAX_LAYERS = 127
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The result of unpacking a tar."""

    diff_id: str  # digest of the tar
    digest: str  # digest of the input, which may be compressed
    size_bytes: int  # of the unpacked files


async def unpack(source: Path | AsyncIterator[bytes], folder: Path, kind: Literal["layer", "archive"]) -> Unpacked:
    """Unpack a tar, compressed or not, into an existing folder and nowhere else.

    Raises InvalidArgument if the tar is at fault, ShoalError if this host is (a full disk), MissingProgram for zstd.
    After an error the folder may be half full.
    """
    try:
        zstd = programs.find("zstd")
    except MissingProgram:
        zstd = ""  # only needed for zstd data, which is then refused
    command = (sys.executable, "-I", "-S", "-X", "utf8", unpack_child.__file__, kind, str(folder), zstd)
    if isinstance(source, Path):
        with source.open("rb") as file:
            child = await _start(command, file.fileno())
    else:
        child = await _start(command, asyncio.subprocess.PIPE)
    try:
        if not isinstance(source, Path):
            # The child writes one line at its end. That fits any pipe, so it need not be read meanwhile.
            await _feed(child, source)
        out, complaint = await child.communicate()
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        if child.stdin is not None:
            # The error is irrelevant, but asyncio would log it if nobody retrieved it.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await child.stdin.wait_closed()
    return _told(out, complaint, await child.wait(), bool(zstd))


async def _start(command: tuple[str, ...], stdin: int) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await spawning.start(*command, stdin=stdin, stdout=pipe, stderr=pipe)


async def _feed(child: asyncio.subprocess.Process, source: AsyncIterator[bytes]) -> None:
    assert child.stdin is not None
    try:
        async for chunk in source:
            if child.stdin.is_closing():
                return  # the child has ended; with uvloop, a write would raise an error now
            child.stdin.write(chunk)
            await child.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the child has ended early and gives the reason on its output
    finally:
        child.stdin.close()


def _told(out: bytes, complaint: bytes, code: int, have_zstd: bool) -> Unpacked:
    try:
        fields = read_json(out[:MAX_REPORT_BYTES])
        if not isinstance(fields, dict):
            raise BadJson("it is no object")
    except BadJson as error:
        ended = f"its process ended with {f'signal {-code}' if code < 0 else f'code {code}'}"
        words = complaint.decode(errors="replace").strip().splitlines() or [ended]
        raise ShoalError(f"unpacking failed: {words[-1]}") from error
    if problem := fields.get("error"):
        if not have_zstd and problem == "zstd is not installed":
            raise MissingProgram("zstd", "zstd")
        if fields.get("kind") == "input":
            raise InvalidArgument(f"invalid tar: {problem}")
        raise ShoalError(f"cannot unpack: {problem}")
    return Unpacked(fields["diff_id"], fields["digest"], fields["size"])


class LayerStore:
    """The layers below one folder, which are read at the start. For one event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "layers"
        self._links = folder / "l"
        for path in (folder, self._folder, self._links):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sizes: dict[str, int] = {}
        self._lower: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._pinned: Counter[str] = Counter()
        known = {link.name: os.readlink(link) for link in self._links.iterdir() if link.is_symlink()}
        for path in self._folder.iterdir():
            self._read(path, known)

    def _read(self, path: Path, links: dict[str, str]) -> None:
        diff_id = f"sha256:{path.name}"
        if not is_digest(diff_id):
            confined.remove_remains(path)  # the new folder of a run that did not finish
            return
        try:
            size = int(read_json((path / "layer.json").read_bytes())["size"])
        except (OSError, ValueError, KeyError, TypeError):
            size = 0  # the layer still works; the number is only shown to people
        target = f"../layers/{path.name}/fs"
        short = next((name for name, to in links.items() if to == target), "")
        self._know(diff_id, size, short)

    def _know(self, diff_id: str, size: int, short: str = "") -> None:
        digits = diff_id.removeprefix("sha256:")
        length = SHORT_CHARACTERS
        while not short:
            candidate = digits[:length]
            try:
                os.symlink(f"../layers/{digits}/fs", self._links / candidate)
            except FileExistsError:
                if os.readlink(self._links / candidate) != f"../layers/{digits}/fs":
                    length += 1
                    continue
            short = candidate
        self._sizes[diff_id] = size
        self._lower[diff_id] = str(self._links / short)

    def __contains__(self, diff_id: str) -> bool:
        return diff_id in self._lower

    def lower(self, diff_id: str) -> str:
        """Return a layer's path for overlayfs, a short link to its files. Raises KeyError."""
        return self._lower[diff_id]

    def size(self, diff_id: str) -> int:
        """Return the size of a layer's files in bytes."""
        return self._sizes.get(diff_id, 0)

    def all(self) -> list[str]:
        """Return the diff ids of all layers."""
        return list(self._lower)

    @contextlib.contextmanager
    def pinned(self, diff_ids: Iterable[str]) -> Iterator[None]:
        """Protect layers, present or future, from removal within this block, until a record names them."""
        pins = list(diff_ids)
        self._pinned.update(pins)
        try:
            yield
        finally:
            self._pinned.subtract(pins)
            self._pinned = +self._pinned

    async def add(self, source: Path | AsyncIterator[bytes], *, diff_id: str = "", digest: str = "") -> str:
        """Unpack a layer and return its diff id. The layer is stored whole or not at all.

        `diff_id` and `digest` are the expected ones, if known. Callers that add the same diff id at the same time share
        the work. The disk is not flushed; `sync` does that once per image. Raises InvalidArgument, also for another
        digest; ShoalError, MissingProgram.
        """
        lock = self._locks.setdefault(diff_id, asyncio.Lock()) if diff_id else asyncio.Lock()
        async with lock:
            if diff_id in self:
                return diff_id
            fresh = self._folder / f".new-{secrets.token_hex(8)}"
            try:
                (fresh / "fs").mkdir(mode=0o755, parents=True)
                fresh.chmod(0o700)
                (fresh / "fs").chmod(0o755)  # despite the umask
                done = await unpack(source, fresh / "fs", "layer")
                _check("layer", diff_id, done.diff_id)
                _check("blob", digest, done.digest)
                (fresh / "layer.json").write_text(json.dumps({"diff_id": done.diff_id, "size": done.size_bytes}))
                if done.diff_id not in self:
                    self._put(fresh, done)
                return done.diff_id
            except OSError as error:
                raise ShoalError(f"cannot store a layer: {error.strerror or error}") from error
            finally:
                await asyncio.to_thread(confined.remove_remains, fresh)
                self._locks.pop(diff_id, None)

    def _put(self, fresh: Path, done: Unpacked) -> None:
        place = self._folder / done.diff_id.removeprefix("sha256:")
        # An earlier attempt may have ended between the two steps, because there was no room for the link. Then the
        # folder is there and complete.
        if not place.exists():
            os.rename(fresh, place)
        self._know(done.diff_id, done.size_bytes)

    async def sync(self) -> None:
        """Flush the layers' file system.

        A record that names a layer must be written only after this. Raises ShoalError.
        """
        await asyncio.to_thread(self._sync)

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _libc.syncfs(descriptor) != 0:
                raise ShoalError(f"cannot flush the disk: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(descriptor)

    async def remove(self, diff_ids: Iterable[str]) -> int:
        """Remove layers that are not pinned, and return how many bytes that freed.

        The layers are unknown at once, even while their files are still being removed.
        """
        freed, gone = 0, []
        for diff_id in diff_ids:
            if diff_id in self and not self._pinned[diff_id]:
                path = self._folder / diff_id.removeprefix("sha256:")
                moved = self._folder / f".old-{secrets.token_hex(8)}"
                os.rename(path, moved)
                os.unlink(self._lower.pop(diff_id))
                freed += self._sizes.pop(diff_id, 0)
                gone.append(moved)
        for path in gone:
            await asyncio.to_thread(confined.remove_tree, path)
        return freed


def _check(what: str, wanted: str, found: str) -> None:
    if wanted and wanted != found:
        raise InvalidArgument(f"{what} verification failed: it should be {wanted} and is {found}")
