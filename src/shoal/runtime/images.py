"""The images of this host, for containers and the API: pull, load, import, tag, remove.

The records are in `image_store`, the layers in `layers`; `registry` calls registries. Questions about an image on this
host are answered from memory.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime

from shoal.errors import InvalidArgument, NotFound, ShoalError
from shoal.host.events import EventBus
from shoal.paths import Paths
from shoal.runtime import archive, confined, importing, references, removal
from shoal.runtime.image_store import ImageStore, Record, created_at
from shoal.runtime.image_types import (
    DistributionInspect,
    Platform,
    Progress,
    ProgressCallback,
    PruneReport,
    RegistryAuth,
    Removed,
    parse_registry_auth,
)
from shoal.runtime.layers import LayerStore, unpack
from shoal.runtime.pulling import Puller
from shoal.runtime.registry import Registry
from shoal.runtime.types import Image

__all__ = [
    "DistributionInspect",
    "Images",
    "Platform",
    "Progress",
    "PruneReport",
    "RegistryAuth",
    "Removed",
    "parse_registry_auth",
]

# Inside the class below, `list` is its method.
Names = list[str]
Removals = list[Removed]

LOADS_AT_ONCE = 2
"""Few, because each unpacking keeps one processor and the disk busy."""


class Images:
    """The images below one data root, which are read at the start. For one event loop.

    `running` says whether a container that holds an image runs; such an image cannot be removed, even by force.
    """

    def __init__(
        self,
        paths: Paths,
        events: EventBus | None = None,
        *,
        insecure_registries: Iterable[str] = (),
        running: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._staging = paths.images / "staging"
        self.layers = LayerStore(paths.images)
        confined.remove_remains(self._staging)  # from an earlier run that did not finish
        self._staging.mkdir(mode=0o700, exist_ok=True)
        self.store = ImageStore(paths.images)
        self.running = running
        self._events = events
        self._registry = Registry(paths.exec_root / "registry", insecure_registries)
        self._puller = Puller(self._registry, self.store, self.layers, self._staging)
        self._loads = asyncio.Semaphore(LOADS_AT_ONCE)
        self._holders: dict[str, set[str]] = {}
        self._values: dict[str, tuple[Record, list[str], Image]] = {}

    def list(self) -> list[Image]:
        """Return all images, newest first."""
        images = [self._value(record) for record in self.store.all() if not record.hidden]
        return sorted(images, key=lambda image: -image.created_at)

    def get(self, ref: str) -> Image:
        """Return the image of a name, a digest reference, an id or a unique prefix of an id. Raises NotFound."""
        return self._value(self.store.find(ref))

    def _value(self, record: Record) -> Image:
        names = self.store.names(record)
        cached = self._values.get(record.id)
        if cached and cached[0] is record and cached[1] == names:
            return cached[2]
        config = record.config
        image = Image(
            id=record.id,
            config=config,
            layers=record.layers,
            size_bytes=sum(self.layers.size(layer) for layer in record.layers),
            repo_tags=tuple(references.parse(name).familiar for name in names),
            repo_digests=tuple(references.parse(digest).familiar for digest in record.digests),
            created_at=created_at(config),
        )
        self._values[record.id] = (record, names, image)
        return image

    def lower_dirs(self, image_id: str) -> Names:
        """Return the folders of an image's layers for overlayfs, topmost first. Raises NotFound, ShoalError.

        This also works for an image that was removed while a container holds it.
        """
        record = self.store.by_id(image_id)
        if record is None:
            raise NotFound(f"No such image: {image_id}")
        try:
            return [self.layers.lower(layer) for layer in reversed(record.layers)]
        except KeyError as error:
            raise ShoalError(f"the layer {error.args[0]} of image {image_id} is gone: pull the image again") from error

    def hold(self, image_id: str, holder: str) -> None:
        """Keep an image's layers for a container, even if the image is removed. May be repeated."""
        self._holders.setdefault(image_id, set()).add(holder)

    def release(self, image_id: str, holder: str) -> None:
        """End a hold. Layers that are no longer needed go with the next removal or the next start."""
        holders = self._holders.get(image_id, set())
        holders.discard(holder)
        if not holders:
            self._holders.pop(image_id, None)
            record = self.store.by_id(image_id)
            if record and record.hidden:
                self._forget(record)

    def holders(self, image_id: str) -> Names:
        """Return the containers that hold an image."""
        return sorted(self._holders.get(image_id, ()))

    async def pull(self, ref: str, auth: RegistryAuth | None, progress: ProgressCallback | None = None) -> Image:
        """Pull an image from its registry, or find that it is up to date. Raises ShoalError."""
        reference = references.parse(ref).tagged()
        record = await self._puller.pull(reference, auth, progress)
        self._tell("pull", reference.familiar, {"name": reference.familiar_name})
        return self._value(record)

    async def distribution(self, ref: str, auth: RegistryAuth | None) -> DistributionInspect:
        """Return what the registry holds under a reference."""
        return await self._registry.distribution(references.parse(ref).tagged(), auth)

    async def login(self, auth: RegistryAuth) -> None:
        """Ask a registry whether it accepts these credentials. Raises Unauthenticated."""
        await self._registry.login(auth)

    async def load(self, stream: AsyncIterator[bytes], progress: ProgressCallback | None = None) -> Names:
        """Load the images of an archive. Return their names, and the ids of those without names."""
        async with self._loads:
            folder = self._staging / f"load-{secrets.token_hex(8)}"
            try:
                folder.mkdir(mode=0o700)
                await unpack(stream, folder, "archive")
                loaded: list[str] = []
                for image in await asyncio.to_thread(archive.read, folder):
                    loaded += await self._load_one(image, progress)
            except OSError as error:
                raise ShoalError(f"cannot load: {error.strerror or error}") from error
            finally:
                await asyncio.to_thread(confined.remove_remains, folder)
        return loaded

    async def _load_one(self, image: archive.ArchivedImage, progress: ProgressCallback | None) -> Names:
        layers = tuple(layer.diff_id for layer in image.layers)
        fresh = [layer for layer in layers if layer not in self.layers]
        try:
            with self.layers.pinned(layers):
                for layer in image.layers:
                    await self.layers.add(layer.file, diff_id=layer.diff_id, digest=layer.digest)
                await self.layers.sync()
                record = self.store.put(image.config, layers, image.names, ())
        except (ShoalError, OSError):
            await self._drop(fresh)
            raise
        names = [references.parse(name).familiar for name in image.names]
        lines = [f"Loaded image: {name}\n" for name in names] or [f"Loaded image ID: {record.id}\n"]
        for line in lines:
            if progress:
                progress(Progress(stream=line))
        self._tell("load", record.id, {"name": record.id})
        return names or [record.id]

    async def import_(
        self, stream: AsyncIterator[bytes], repo: str, tag: str, changes: Iterable[str], message: str
    ) -> Image:
        """Make an image from a tar of a root file system. `changes` are Dockerfile instructions.

        Raises InvalidArgument, ShoalError.
        """
        name = _target(repo, tag) if repo else None
        wanted = [*changes]
        created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        message = message or "Imported from -"
        importing.image_config("sha256:" + "0" * 64, created, message, wanted)  # refuse before unpacking
        async with self._loads:
            diff_id = await self.layers.add(stream)
            with self.layers.pinned([diff_id]):
                await self.layers.sync()
                config = importing.image_config(diff_id, created, message, wanted)
                record = self.store.put(config, (diff_id,), [name.full] if name else [], ())
        self._tell("import", record.id, {"name": name.familiar if name else record.id})
        return self._value(record)

    async def tag(self, ref: str, repo: str, tag: str) -> None:
        """Give an image one more name."""
        record, name = self.store.find(ref), _target(repo, tag)
        self.store.put(record.config_text.encode(), record.layers, [name.full], ())
        self._tell("tag", record.id, {"name": name.familiar})

    async def remove(self, ref: str, force: bool = False, prune: bool = True) -> Removals:
        """Remove a name and, with the last one, the image. Raises NotFound, and Conflict in Docker's words.

        `prune` has no effect: in Docker it is about untagged parents, which Shoal's images do not have.
        """
        record = self.store.find(ref)
        plan = removal.decide(
            record, self.store.names(record), ref, force=force, holders=self.holders(record.id), running=self.running
        )
        removed, _ = await self._carry_out(record, plan)
        return removed

    async def prune(self, dangling_only: bool = True, wanted: Callable[[Image], bool] = lambda _: True) -> PruneReport:
        """Remove images that no container holds: those without a name, or all. Those not `wanted` are kept."""
        removed: list[Removed] = []
        freed = 0
        for record in self.store.all():
            names = self.store.names(record)
            if record.hidden or self._holders.get(record.id) or (dangling_only and (names or record.digests)):
                continue
            if not wanted(self._value(record)):
                continue
            more, bytes_ = await self._carry_out(record, removal.whole(record, names))
            removed += more
            freed += bytes_
        return PruneReport(tuple(removed), freed + await self._collect())

    async def _carry_out(self, record: Record, plan: removal.Plan) -> tuple[Removals, int]:
        removed = [Removed(untagged=references.parse(name).familiar) for name in plan.untag]
        if not plan.delete:
            kept = removal.without(record, plan.untag)
            self.store.save(kept)
        elif self._holders.get(record.id):
            self.store.save(removal.hide(record))
        else:
            self._forget(record)
        for name in plan.untag:
            self._tell("untag", record.id, {"name": references.parse(name).familiar})
        if not plan.delete:
            return removed, 0
        removed.append(Removed(deleted=record.id))
        self._tell("delete", record.id, {"name": record.id})
        before = set(self.layers.all())
        freed = await self._collect()
        gone = before - set(self.layers.all())
        return removed + [Removed(deleted=layer) for layer in reversed(record.layers) if layer in gone], freed

    def _forget(self, record: Record) -> None:
        self.store.delete(record.id)
        self._values.pop(record.id, None)

    async def sweep(self) -> None:
        """Remove leftovers of an earlier run. Call it after the containers of this host hold their images again."""
        for record in self.store.all():
            if record.hidden and not self._holders.get(record.id):
                self._forget(record)
        await self._collect()

    async def _collect(self) -> int:
        """Remove the layers that no image needs. If a record is damaged, none, because its layers are unknown."""
        if self.store.damaged:
            return 0
        needed = {layer for record in self.store.all() for layer in record.layers}
        return await self.layers.remove([layer for layer in self.layers.all() if layer not in needed])

    async def _drop(self, fresh: Iterable[str]) -> None:
        """Remove the new layers of a refused image, except for those that another image has by now."""
        needed = {layer for record in self.store.all() for layer in record.layers}
        await self.layers.remove([layer for layer in fresh if layer not in needed])

    def _tell(self, action: str, id_: str, attributes: dict[str, str]) -> None:
        if self._events:
            self._events.emit("image", action, id_, attributes)


def _target(repo: str, tag: str) -> references.Reference:
    reference = references.parse(f"{repo}:{tag}" if tag else repo).tagged()
    if reference.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    return reference
