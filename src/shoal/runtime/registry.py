"""Calls image registries through skopeo: manifests, configs and layers of a reference.

In: references, credentials. Out: bytes whose digests the caller checks, files, and errors in Docker's words. While a
skopeo runs, its credentials are in a file (0600) on a tmpfs. A password is never on a command line.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

from shoal import spawning
from shoal.errors import NotFound, ShoalError, Unauthenticated
from shoal.host import programs
from shoal.runtime import manifests
from shoal.runtime.image_types import DistributionInspect, RegistryAuth
from shoal.runtime.manifests import Descriptor
from shoal.runtime.pace import Pace
from shoal.runtime.references import Reference, is_loopback

INSPECT_TIMEOUT = 60.0
"""Seconds. A manifest has a few kilobytes; a registry that takes longer counts as unreachable."""

LOOK_EVERY = 0.1
"""Seconds between looks into the folder of a download, to see which layers are complete."""

MAX_WORDS_BYTES = 64 * 1024
_MESSAGE = re.compile(r'level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"')
# skopeo's own words before the registry's.
_PREFIX = re.compile(
    r'(?:Error parsing image name "[^"]*"|initializing source \S+|pinging container registry \S+'
    r"|reading manifest \S+ in \S+|(?:copying|determining|writing|reading|parsing) [^:]*(?: sha256:[0-9a-f]+)?): "
)


class Registry:
    """Calls registries. `insecure`: domains that may be called without TLS, besides registries on this host."""

    def __init__(self, scratch: Path, insecure: Iterable[str] = ()) -> None:
        self._scratch = scratch
        self._insecure = frozenset(insecure)
        if scratch.exists():
            shutil.rmtree(scratch)  # credentials from a run that was killed

    async def login(self, auth: RegistryAuth) -> None:
        """Ask a registry whether it accepts these credentials. Raises Unauthenticated, ShoalError.

        They are not kept; the client sends them again with each pull.
        """
        domain = _login_domain(auth.server_address)
        insecure = domain in self._insecure or is_loopback(domain)
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._scratch / f"login-{secrets.token_hex(8)}.json"
        command = ("login", f"--authfile={file}", *(("--tls-verify=false",) if insecure else ()))
        command += (f"--username={auth.username}", "--password-stdin", domain)
        try:
            async with asyncio.timeout(INSPECT_TIMEOUT), _skopeo(*command, has_input=True) as child:
                _, words = await child.communicate(auth.password.encode())
        except TimeoutError as error:
            raise ShoalError(f"{domain} did not answer within {INSPECT_TIMEOUT:.0f} s") from error
        finally:
            file.unlink(missing_ok=True)
        if child.returncode != 0:
            said = said_by_skopeo(words)
            if "invalid username/password" in said or "unauthorized" in said:
                raise Unauthenticated(f"login attempt to {domain} failed: {said}")
            raise ShoalError(said)

    async def manifest(self, reference: Reference, auth: RegistryAuth | None) -> bytes:
        """Return the exact bytes of a reference's manifest or index. Raises NotFound, Unauthenticated, ShoalError."""
        return await self._inspect(reference, auth, "--raw")

    async def config(self, reference: Reference, auth: RegistryAuth | None) -> bytes:
        """Return the exact bytes of the config of a reference's image. Raises NotFound, Unauthenticated, ShoalError."""
        return await self._inspect(reference, auth, "--raw", "--config")

    async def _inspect(self, reference: Reference, auth: RegistryAuth | None, *flags: str) -> bytes:
        with self._auth_file(reference, auth) as auth_file:
            tls = ("--tls-verify=false",) if self._is_insecure(reference) else ()
            command = ("inspect", *flags, *tls, "--authfile", auth_file, f"docker://{reference.remote}")
            try:
                async with asyncio.timeout(INSPECT_TIMEOUT), _skopeo(*command) as child:
                    out, words = await child.communicate()
            except TimeoutError as error:
                raise ShoalError(f"{reference.domain} did not answer within {INSPECT_TIMEOUT:.0f} s") from error
        if child.returncode != 0:
            raise explain(reference, words)
        return out

    async def fetch(
        self,
        reference: Reference,
        auth: RegistryAuth | None,
        folder: Path,
        *,
        wanted: Iterable[Descriptor],
        present: Iterable[Descriptor],
        complete: Callable[[Descriptor], None],
    ) -> None:
        """Download layers of one image to `folder`/sha256/<hex of digest>. `complete` is called for each finished one.

        The layers in `present` are not downloaded. For each there is an empty file of its size, which skopeo takes for
        the layer. Raises NotFound, Unauthenticated, ShoalError.
        """
        wanted = list(wanted)
        try:
            await asyncio.to_thread(_stand_in, folder / "sha256", list(present))
        except OSError as error:
            raise ShoalError(f"cannot pull: {error.strerror or error}") from error
        download = _Download(folder, wanted, complete)
        with self._auth_file(reference, auth) as auth_file:
            tls = ("--src-tls-verify=false",) if self._is_insecure(reference) else ()
            command = ("--insecure-policy", "copy", "--quiet", *tls, "--src-authfile", auth_file)
            command += ("--dest-shared-blob-dir", str(folder), "--dest-oci-accept-uncompressed-layers")
            command += (f"docker://{reference.remote}", f"oci:{folder}/layout:image")
            async with _skopeo(*command) as child, asyncio.TaskGroup() as group:
                watcher = group.create_task(download.watch(child), name="download progress")
                _, words = await child.communicate()
                watcher.cancel()
        if download.refusal:
            raise ShoalError(f"pulling {reference.familiar} was given up: {download.refusal}")
        if child.returncode != 0:
            raise explain(reference, words)
        download.look()
        if download.waiting:
            missing = ", ".join(layer.digest for layer in download.waiting.values())
            raise ShoalError(f"skopeo did not download {missing}")

    async def distribution(self, reference: Reference, auth: RegistryAuth | None) -> DistributionInspect:
        """Return a registry's facts about a reference. Raises NotFound, Unauthenticated, ShoalError."""
        raw = await self.manifest(reference, auth)
        parsed, digest = manifests.parse(raw), manifests.digest_of(raw)
        if isinstance(parsed, manifests.Index):
            platforms = tuple(entry.platform for entry in parsed.manifests if entry.platform.os)
        else:
            at = Reference(reference.domain, reference.path, digest=digest)
            platforms = (manifests.config_platform(await self.config(at, auth)),)
        return DistributionInspect(digest, parsed.media_type, len(raw), platforms)

    def _is_insecure(self, reference: Reference) -> bool:
        return reference.domain in self._insecure or is_loopback(reference.domain)

    @contextlib.contextmanager
    def _auth_file(self, reference: Reference, auth: RegistryAuth | None) -> Iterator[str]:
        # Also without credentials, because skopeo would otherwise use those of the user who runs the daemon.
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._scratch / f"auth-{secrets.token_hex(8)}.json"
        entry: dict[str, str] = {}
        if auth and not auth.empty:
            login = f"{auth.username}:{auth.password}" if not auth.identity_token else f"{auth.username or '<token>'}:"
            entry = {"auth": base64.b64encode(login.encode()).decode()}
            if auth.identity_token:
                entry["identitytoken"] = auth.identity_token
        content = {"auths": {reference.domain: entry} if entry else {}}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w") as file:
                json.dump(content, file)
            yield str(path)
        finally:
            path.unlink(missing_ok=True)


def _stand_in(blobs: Path, present: list[Descriptor]) -> None:
    blobs.mkdir(mode=0o700, parents=True)
    for layer in present:
        with (blobs / layer.digest.removeprefix("sha256:")).open("wb") as file:
            file.truncate(layer.size)


class _Download:
    """The progress of a download into a folder."""

    def __init__(self, folder: Path, wanted: list[Descriptor], complete: Callable[[Descriptor], None]) -> None:
        blobs = folder / "sha256"
        self.waiting = {blobs / layer.digest.removeprefix("sha256:"): layer for layer in wanted}
        self.refusal: str | None = None
        self._layout = folder / "layout"
        self._complete = complete
        self._done_bytes = 0
        self._pace = Pace(time.monotonic(), sum(layer.size for layer in self.waiting.values()))

    async def watch(self, child: asyncio.subprocess.Process) -> None:
        """Report complete layers until cancelled, and kill skopeo if the download stalls or is too large."""
        while self.refusal is None:
            await asyncio.sleep(LOOK_EVERY)
            self.look()
            self.refusal = self._pace.refusal(time.monotonic(), self._done_bytes + self._partial_bytes())
        with contextlib.suppress(ProcessLookupError):
            child.kill()

    def look(self) -> None:
        """Report the layers that are complete now."""
        for path in [path for path in self.waiting if path.exists()]:
            layer = self.waiting.pop(path)
            self._done_bytes += layer.size
            self._complete(layer)

    def _partial_bytes(self) -> int:
        total = 0
        with contextlib.suppress(FileNotFoundError):  # skopeo moves complete layers out of here
            for entry in os.scandir(self._layout):
                total += entry.stat(follow_symlinks=False).st_size
        return total


def _login_domain(address: str) -> str:
    """Return the domain of an address of `docker login`, which has a special form for Docker's own registry."""
    domain = address.partition("://")[2] or address
    domain = domain.partition("/")[0]
    return "docker.io" if domain in {"", "index.docker.io", "registry-1.docker.io"} else domain


@contextlib.asynccontextmanager
async def _skopeo(*arguments: str, has_input: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run skopeo. When the block is left, even by cancellation, skopeo has ended."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    child = await spawning.start(
        programs.find("skopeo"), *arguments, stdin=pipe if has_input else null, stdout=pipe, stderr=pipe
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def explain(reference: Reference, stderr: bytes) -> ShoalError:
    """Return the error for skopeo's output: Docker's words, then the registry's own.

    Source of the texts: moby daemon/internal/distribution/errors.go.
    """
    words = said_by_skopeo(stderr)
    while match := _PREFIX.match(words):
        words = words[match.end() :]
    if words.startswith("errors:\n"):
        words = words.splitlines()[1]  # there are several; Docker shows the first
    if "manifest unknown" in words:
        return NotFound(f"manifest for {reference.tagged().familiar} not found: {words}")
    denied = (
        f"pull access denied for {reference.familiar_name}, repository does not exist or may require 'docker login'"
    )
    if "denied" in words or "name unknown" in words or "repository name not known" in words:
        return NotFound(f"{denied}: {words}")
    if words.startswith("authentication required"):
        words = f"unauthorized: {words}"  # the registry's code, which Debian 13's skopeo leaves out
    if "unauthorized" in words or "authentication required" in words:
        return Unauthenticated(f"{denied}: {words}")
    return ShoalError(words)


def said_by_skopeo(stderr: bytes) -> str:
    """Return the last error in skopeo's output, without time and level."""
    text = stderr[-MAX_WORDS_BYTES:].decode(errors="replace").strip()
    found = _MESSAGE.findall(text)
    return re.sub(r"\\(.)", _unescape, found[-1]) if found else (text.splitlines() or ["skopeo gave no reason"])[-1]


def _unescape(match: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t"}.get(match[1], match[1])
