"""Makes a container on disk from a ContainerConfig, and removes it.

The steps of making one: hold the image, make and hold volumes, connect the network, mount the root, write the record.
If a step fails, the earlier ones are undone.
"""

import logging
import os
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from shoal.errors import DamagedState, NotFound
from shoal.network.names.resolvconf import ndots_chosen
from shoal.network.types import Sandbox
from shoal.runtime import bundle, capabilities, confined, filling, log_options, oci_spec, process, records
from shoal.runtime.discards import Discards
from shoal.runtime.host import resolv_conf
from shoal.runtime.interfaces import Images, Network, Volumes
from shoal.runtime.types import Container, ContainerConfig, Mount, Phase, Volume
from shoal.runtime.waits import Waits, silently
from shoal.runtime.workers import Workers

log = logging.getLogger(__name__)

LOG_NAME = "output.log"


class Creation:
    """Makes containers."""

    def __init__(self, site: bundle.Site, workers: Workers, images: Images, volumes: Volumes, network: Network) -> None:
        self._site = site
        self._workers = workers
        self._images = images
        self._volumes = volumes
        self._network = network
        self._discards = Discards(site)

    async def make(
        self,
        id: str,  # noqa: A002 - a container's id
        config: ContainerConfig,
        waits: Waits = silently,
    ) -> Container:
        """Make a container, CREATED and recorded. Raises InvalidArgument and NotFound with Docker's words."""
        image = self._images.get(config.image)
        wanted = process.process(image.config, config)
        oci_spec.check_mounts(config)
        driver, options = log_options.resolve(config.log_driver, config.log_options, self._site.logs)
        config = replace(config, log_driver=driver, log_options=options)
        capabilities.effective(config.cap_add, config.cap_drop, self._site.host.available)
        async with AsyncExitStack() as undo:
            folder = await self._workers.run(self._make_folder, id, config.mounts)
            undo.push_async_callback(self._workers.run, self._discards.discard, id, folder)
            self._images.hold(image.id, id)
            undo.callback(self._images.release, image.id, id)
            mounts, sources, fresh = await self._volumes_of(id, config, wanted.volumes, undo, waits)
            sandbox = await self._connect(id, config)
            undo.push_async_callback(self._network.disconnect, id)
            container = Container(
                id=id,
                config=config,
                image_id=image.id,
                phase=Phase.CREATED,
                created_at=time.time(),
                path=wanted.args[0],
                args=wanted.args[1:],
                env=wanted.env,
                sandbox=sandbox,
                mounts=mounts,
                mount_sources=sources,
                log_path=str(folder / LOG_NAME),
                working_dir=wanted.cwd,
                user=wanted.user,
                stop_signal=wanted.stop_signal,
                health_config=wanted.health,
            )
            lower = self._images.lower_dirs(image.id)
            filled = [
                (target, volume.mountpoint) for target, volume in await self._to_fill(container, lower, fresh, waits)
            ]
            await self._workers.run(self._record, container, lower, folder, filled)
            undo.pop_all()
        return container

    async def _mount(self, volume: Volume, waits: Waits) -> None:
        if volume.options.get("device"):
            async with waits(f"waiting for its volume {volume.name}: {volume.options['device']}"):
                await self._volumes.mount(volume.name)

    async def connect(self, container: Container, waits: Waits = silently) -> Sandbox:
        """Mount its volumes, and return the sandbox for its start: its present one, or a new one if that is gone.

        A sandbox is gone after an earlier end and after a reboot.
        """
        for mount in container.mounts:
            if mount.type == "volume":
                await self._mount(self._volumes.get(mount.source), waits)
        present = container.sandbox
        # A stat on a tmpfs is faster than a thread.
        pinned = bool(present.netns) and os.path.exists(present.netns)  # noqa: ASYNC240
        if container.config.network == "host" or pinned:
            return present
        return await self._connect(container.id, container.config)

    async def _connect(self, id: str, config: ContainerConfig) -> Sandbox:  # noqa: A002
        ndots = False
        if config.attachments:
            ndots = await self._workers.run(lambda: ndots_chosen(resolv_conf(), config.dns_options))
        return await self._network.connect(
            id,
            config.network,
            config.attachments,
            name=config.name,
            hostname=config.hostname,
            servers=config.dns,
            ndots_set=ndots,
            own=config.own_networks,
            published=bool(config.ports),
        )

    async def remove(self, container: Container, *, volumes: bool) -> None:
        """Remove everything that the container has. May be repeated after an error."""
        await self._network.disconnect(container.id)
        await self._workers.run(self._discards.discard, container.id, self._site.folder(container.id))
        self._images.release(container.image_id, container.id)
        for mount in container.mounts:
            if mount.type == "volume":
                self._volumes.release(mount.source, container.id)
        if not volumes:
            return
        for mount in container.mounts:
            try:
                if mount.type == "volume" and self._volumes.get(mount.source).anonymous:
                    await self._volumes.remove(mount.source, False)
            except NotFound:
                continue

    async def hold_again(self, container: Container) -> None:
        """Hold its image and volumes again, after a restart of the daemon."""
        try:
            self._images.hold(container.image_id, container.id)
            for mount in container.mounts:
                if mount.type == "volume":
                    self._volumes.hold(mount.source, container.id)
        except (NotFound, DamagedState) as error:
            log.warning("the image or a volume of container %s is missing or damaged: %s", container.id[:12], error)

    async def _volumes_of(
        self,
        id: str,  # noqa: A002
        config: ContainerConfig,
        declared: tuple[str, ...],
        undo: AsyncExitStack,
        waits: Waits,
    ) -> tuple[tuple[Mount, ...], dict[str, str], list[tuple[str, Volume]]]:
        """Return the mounts with volume names filled in, the source of each, and (target, volume) to fill."""
        mounts: list[Mount] = []
        sources: dict[str, str] = {}
        fresh: list[tuple[str, Volume]] = []
        for mount in (*config.mounts, *(Mount("volume", target) for target in declared)):
            if mount.type == "bind":
                sources[mount.target] = mount.source
            if mount.type != "volume":
                mounts.append(mount)
                continue
            volume = await self._volumes.create(
                mount.source, mount.volume_driver or "local", mount.volume_options, mount.volume_labels
            )
            self._volumes.hold(volume.name, id)
            undo.callback(self._volumes.release, volume.name, id)
            mounts.append(replace(mount, source=volume.name))
            if not mount.no_copy and not mount.subpath:
                fresh.append((mount.target, volume))
            if mount.subpath:
                await self._mount(volume, waits)
                await self._workers.run(bundle.check_subpath, volume.mountpoint, mount.subpath)
            sources[mount.target] = volume.mountpoint
        return tuple(mounts), sources, fresh

    async def _to_fill(
        self, container: Container, lower: list[str], fresh: list[tuple[str, Volume]], waits: Waits
    ) -> list[tuple[str, Volume]]:
        """Return the volumes to fill, mounted.

        A volume with mount options is left out if the image has no folder there. As in Docker, it is only mounted by
        the start: if its mount fails, the start fails.
        """
        filled = []
        for target, volume in fresh:
            if volume.options:
                root = await self._workers.run(bundle.set_up_root, self._site, container.id, lower)
                if await self._workers.run(confined.folder_mode, root, target) is None:
                    continue
            await self._mount(volume, waits)
            filled.append((target, volume))
        return filled

    def _make_folder(self, id: str, mounts: tuple[Mount, ...]) -> Path:  # noqa: A002
        bundle.check_binds(mounts)
        folder = self._site.folder(id)
        folder.mkdir(mode=0o700)
        return folder

    def _record(self, container: Container, lower: list[str], folder: Path, fresh: list[tuple[str, str]]) -> None:
        root = bundle.set_up_root(self._site, container.id, lower)
        for target, volume in fresh:
            filling.fill(root, target, volume)
        records.write_config(folder, container)
