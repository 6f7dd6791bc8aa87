"""Pulls an image from a registry: manifest, config, missing layers, then the record.

In: a reference, credentials. Out: the record, and progress in Docker's words. Equal pulls share one download; only a
few downloads run at once (`pace.py`). A failed pull changes nothing, but its complete layers stay until unused layers
are removed.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from shoal.errors import InvalidArgument, NotFound, ShoalError
from shoal.runtime import confined, image_config, manifests, unpack_child
from shoal.runtime.image_store import ImageStore, Record
from shoal.runtime.image_types import Progress, ProgressCallback, RegistryAuth
from shoal.runtime.layers import LayerStore
from shoal.runtime.manifests import Descriptor, Manifest
from shoal.runtime.pace import Places
from shoal.runtime.references import Reference
from shoal.runtime.registry import Registry

R = TypeVar("R")


@dataclass(slots=True)
class _Flight(Generic[R]):
    """Work for which several callers wait."""

    done: asyncio.Event = field(default_factory=asyncio.Event)
    listeners: list[ProgressCallback] = field(default_factory=list)
    result: R | None = None
    error: ShoalError | None = None


class Shared(Generic[R]):
    """Does work once for all callers that ask for the same at the same time.

    The first caller does it. If that one is cancelled, another waiting caller starts it again.
    """

    def __init__(self) -> None:
        self._flights: dict[object, _Flight[R]] = {}

    async def run(
        self, key: object, progress: ProgressCallback | None, work: Callable[[ProgressCallback], Awaitable[R]]
    ) -> R:
        """Return the result of `work`, or raise its ShoalError, for all callers with this key."""
        while flight := self._flights.get(key):
            if progress:
                flight.listeners.append(progress)
            await flight.done.wait()
            if flight.error:
                raise flight.error
            if flight.result is not None:
                return flight.result
        flight = self._flights[key] = _Flight()
        if progress:
            flight.listeners.append(progress)

        def tell(line: Progress) -> None:
            for listener in flight.listeners:
                listener(line)

        try:
            flight.result = await work(tell)
            return flight.result
        except ShoalError as error:
            flight.error = error
            raise
        finally:
            del self._flights[key]
            flight.done.set()


class Puller:
    """Pulls images into an image store and a layer store."""

    def __init__(self, registry: Registry, store: ImageStore, layers: LayerStore, staging: Path) -> None:
        self._registry = registry
        self._store = store
        self._layers = layers
        self._staging = staging
        self._places = Places()
        self._shared: Shared[Record] = Shared()

    async def pull(self, reference: Reference, auth: RegistryAuth | None, progress: ProgressCallback | None) -> Record:
        """Pull a reference with a tag or a digest.

        Raises NotFound, Unauthenticated or ShoalError with the registry's words, InvalidArgument for a bad image.
        """

        async def work(tell: ProgressCallback) -> Record:
            async with self._places.taken(reference.domain):
                return await self._pull(reference, auth, tell)

        return await self._shared.run((reference, auth), progress, work)

    async def _pull(self, reference: Reference, auth: RegistryAuth | None, tell: ProgressCallback) -> Record:
        raw = await self._registry.manifest(reference, auth)
        shown = reference.digest or reference.tag
        tell(Progress(f"Pulling from {reference.path}", id=shown))
        digest = _verify(raw, reference.digest)
        at, manifest = await self._one_image(reference, auth, raw, digest)
        known = self._store.by_id(manifest.config.digest)
        before = self._known_names(known)
        if known and not known.hidden and all(layer in self._layers for layer in known.layers):
            data = known.config_text.encode()
        else:
            data = await self._registry.config(at, auth)
            _verify(data, manifest.config.digest)
        _, diff_ids = image_config.parse(data)
        if len(diff_ids) != len(manifest.layers):
            raise InvalidArgument("invalid rootfs in image configuration")  # Docker's words: pull_v2.go
        with self._layers.pinned(diff_ids):
            await self._bring(at, auth, list(zip(diff_ids, manifest.layers, strict=True)), tell)
            names = [Reference(reference.domain, reference.path, reference.tag).full] if reference.tag else []
            named = [Reference(reference.domain, reference.path, digest=digest).full]
            if set(names + named) <= before:
                status = f"Status: Image is up to date for {reference.familiar}"
                record = self._store.find(manifest.config.digest)
            else:
                status = f"Status: Downloaded newer image for {reference.familiar}"
                await self._layers.sync()
                record = self._store.put(data, diff_ids, names, named)
        tell(Progress(f"Digest: {digest}"))
        tell(Progress(status))
        return record

    def _known_names(self, known: Record | None) -> set[str]:
        if known is None or known.hidden:
            return set()
        return {*self._store.names(known), *known.digests}

    async def _one_image(
        self, reference: Reference, auth: RegistryAuth | None, raw: bytes, digest: str
    ) -> tuple[Reference, Manifest]:
        """Return this host's image with its own digest, because the tag may change meanwhile."""
        parsed = manifests.parse(raw)
        if isinstance(parsed, manifests.Index):
            digest = manifests.choose(parsed, manifests.host_platform()).digest
            raw = await self._registry.manifest(Reference(reference.domain, reference.path, digest=digest), auth)
            _verify(raw, digest)
            parsed = manifests.parse(raw)
        if not isinstance(parsed, Manifest):
            raise NotFound(f"no matching manifest for {reference.familiar}: an index in an index")
        return Reference(reference.domain, reference.path, digest=digest), parsed

    async def _bring(
        self, at: Reference, auth: RegistryAuth | None, pairs: list[tuple[str, Descriptor]], tell: ProgressCallback
    ) -> None:
        missing = [(diff_id, blob) for diff_id, blob in pairs if diff_id not in self._layers]
        present = [blob for diff_id, blob in pairs if diff_id in self._layers]
        for diff_id, blob in pairs:
            tell(Progress("Already exists" if diff_id in self._layers else "Pulling fs layer", id=_short(blob)))
        if not missing:
            return
        try:
            unpack_child.need_room(str(self._staging), sum(blob.size for _, blob in missing))
        except unpack_child.NoRoom as error:
            raise ShoalError(str(error)) from error
        folder = self._staging / f"pull-{secrets.token_hex(8)}"
        try:
            await self._registry.fetch(
                at,
                auth,
                folder,
                wanted=[blob for _, blob in missing],
                present=present,
                complete=lambda blob: tell(Progress("Download complete", id=_short(blob))),
            )
            for diff_id, blob in missing:
                file = folder / "sha256" / blob.digest.removeprefix("sha256:")
                tell(Progress("Extracting", id=_short(blob)))
                await self._layers.add(file, diff_id=diff_id, digest=blob.digest)
                tell(Progress("Pull complete", id=_short(blob)))
        finally:
            await asyncio.to_thread(confined.remove_remains, folder)


def _verify(data: bytes, wanted: str) -> str:
    found = manifests.digest_of(data)
    if wanted and found != wanted:
        raise ShoalError(f"manifest verification failed for digest {wanted}")  # Docker's words: pull_v2.go
    return found


def _short(blob: Descriptor) -> str:
    return blob.digest.removeprefix("sha256:")[:12]
