"""Pulls from a real registry on loopback, with and without a password."""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import NotFound, ShoalError, Unauthenticated
from shoal.host import linux
from shoal.paths import Paths
from shoal.runtime import unpack_child
from shoal.runtime.images import Images, Progress, RegistryAuth
from shoal.runtime.manifests import DOCKER_LIST, DOCKER_MANIFEST, host_platform
from tests.harness.registry import PASSWORD, USER, Registry, registry
from tests.unit.runtime.tars import files

pytestmark = pytest.mark.root

LAYER, SECOND = files(a=b"1" * 50_000), files(b=b"2")


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def archive(path: Path, *layers: bytes, word: str = "") -> str:
    """Write an archive as `docker save` does. Returns the image's id."""
    here = host_platform()
    config = json.dumps(
        {
            "os": here.os,
            "architecture": here.architecture,
            "config": {"Labels": {"word": word}},
            "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]},
        }
    ).encode()
    parts = {f"{number}.tar": layer for number, layer in enumerate(layers)}
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["x:y"], "Layers": list(parts)}]).encode()
    path.write_bytes(files(**{"c.json": config, **parts, "manifest.json": manifest}))
    return sha(config)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data", tmp_path / "exec")


@pytest.fixture
def images(paths: Paths) -> Images:
    return Images(paths)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path / "registry", password=True) as running:
        yield running


def words(told: list[Progress]) -> list[str]:
    return [line.status for line in told]


async def test_an_image_is_pulled_and_found_up_to_date(images: Images, server: Registry, tmp_path: Path) -> None:
    image_id = archive(tmp_path / "app.tar", LAYER, SECOND)
    digest = server.push(tmp_path / "app.tar", "team/app:1")
    name = f"{server.address}/team/app:1"
    told: list[Progress] = []
    image = await images.pull(name, None, told.append)
    assert (image.id, image.repo_tags) == (image_id, (name,))
    assert image.repo_digests == (f"{server.address}/team/app@{digest}",)
    assert image == images.get(name) == images.get(image.repo_digests[0])
    assert Path(images.lower_dirs(image.id)[1], "a").read_bytes() == b"1" * 50_000
    assert told[0] == Progress("Pulling from team/app", id="1")
    assert words(told)[1:3] == ["Pulling fs layer"] * 2
    assert words(told).count("Download complete") == words(told).count("Pull complete") == 2
    assert words(told)[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}"]
    told.clear()
    assert await images.pull(name, None, told.append) == image
    assert words(told)[1:] == ["Already exists"] * 2 + [f"Digest: {digest}", f"Status: Image is up to date for {name}"]


async def test_a_layer_that_is_here_is_not_downloaded_again(images: Images, server: Registry, tmp_path: Path) -> None:
    archive(tmp_path / "base.tar", LAYER)
    server.push(tmp_path / "base.tar", "base:1")
    await images.pull(f"{server.address}/base:1", None)
    archive(tmp_path / "app.tar", LAYER, SECOND)
    server.push(tmp_path / "app.tar", "app:1")
    told: list[Progress] = []
    image = await images.pull(f"{server.address}/app:1", None, told.append)
    assert sorted(words(told)[1:3]) == ["Already exists", "Pulling fs layer"]
    assert Path(images.lower_dirs(image.id)[1], "a").read_bytes() == b"1" * 50_000
    blob = told[1].id
    downloads = [line for line in server.requests().splitlines() if f"GET /v2/app/blobs/sha256:{blob}" in line]
    assert downloads == []


async def test_a_pull_by_digest_has_no_tag(images: Images, server: Registry, tmp_path: Path) -> None:
    archive(tmp_path / "app.tar", LAYER)
    name = f"{server.address}/app@{server.push(tmp_path / 'app.tar', 'app:1')}"
    image = await images.pull(name, None)
    assert (image.repo_tags, image.repo_digests) == ((), (name,))
    assert await images.pull(f"{server.address}/app:1@{name.partition('@')[2]}", None)


async def test_of_an_index_the_image_for_this_host_is_pulled(images: Images, server: Registry, tmp_path: Path) -> None:
    image_id = archive(tmp_path / "app.tar", LAYER)
    digest = server.push(tmp_path / "app.tar", "app:one")
    archive(tmp_path / "foreign.tar", SECOND)
    foreign = server.push(tmp_path / "foreign.tar", "app:foreign")
    here = host_platform()
    entries = [
        {"mediaType": DOCKER_MANIFEST, "digest": at, "size": len(server.get("app", at)), "platform": platform}
        for at, platform in (
            (foreign, {"os": "linux", "architecture": "strange"}),
            (digest, {"os": "linux", "architecture": here.architecture, "variant": here.variant}),
        )
    ]
    server.put("app", "many", {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries})
    image = await images.pull(f"{server.address}/app:many", None)
    assert image.id == image_id
    found = await images.distribution(f"{server.address}/app:many", None)
    assert image.repo_digests == (f"{server.address}/app@{found.digest}",)
    assert (found.media_type, [one.architecture for one in found.platforms]) == (
        DOCKER_LIST,
        ["strange", here.architecture],
    )
    alone = await images.distribution(f"{server.address}/app:one", None)
    assert (alone.digest, alone.media_type) == (digest, DOCKER_MANIFEST)
    assert [one.architecture for one in alone.platforms] == [here.architecture]


async def test_what_the_registry_lacks_is_said_in_dockers_words(images: Images, server: Registry) -> None:
    with pytest.raises(NotFound, match=rf"^manifest for {server.address}/app:1 not found: manifest unknown"):
        await images.pull(f"{server.address}/app:1", None)
    with pytest.raises(NotFound, match="manifest unknown"):
        await images.distribution(f"{server.address}/app:1", None)


async def test_a_registry_that_is_not_there_is_said(images: Images) -> None:
    with pytest.raises(
        ShoalError, match=r'^Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection ref'
    ):
        await images.pull("127.0.0.1:1/app", None)


async def test_a_password_lets_in(images: Images, paths: Paths, locked: Registry, tmp_path: Path) -> None:
    archive(tmp_path / "app.tar", LAYER)
    locked.push(tmp_path / "app.tar", "app:1")
    name = f"{locked.address}/app:1"
    denied = f"^pull access denied for {locked.address}/app, repository does not exist or may require 'docker login': "
    for auth in (None, RegistryAuth(USER, "wrong")):
        with pytest.raises(Unauthenticated, match=denied + "unauthorized: authentication required"):
            await images.pull(name, auth)
    seen = await _watch_command_lines(images.pull(name, RegistryAuth(USER, PASSWORD)))
    assert images.get(name)
    assert any("skopeo" in line for line in seen)
    assert not any(PASSWORD in line for line in seen)
    assert list((paths.exec_root / "registry").iterdir()) == []


async def _watch_command_lines(work: Coroutine[Any, Any, object]) -> set[str]:
    """Return the command lines of all processes that existed while `work` ran."""
    seen: set[str] = set()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        while not task.done():
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_text(errors="replace"))
                except OSError:
                    continue
            await asyncio.sleep(0.005)
    return seen


async def test_pulls_of_one_image_at_one_time_share_the_download(
    images: Images, server: Registry, tmp_path: Path
) -> None:
    archive(tmp_path / "app.tar", LAYER)
    digest = server.push(tmp_path / "app.tar", "app:1")
    layer = json.loads(server.get("app", digest))["layers"][0]["digest"]
    async with asyncio.TaskGroup() as group:
        pulls = [group.create_task(images.pull(f"{server.address}/app:1", None)) for _ in range(5)]
    assert len({pull.result().id for pull in pulls}) == 1
    # The registry logs each answer twice, as an access line and as an event.
    downloads = [line for line in server.requests().splitlines() if f'"GET /v2/app/blobs/{layer}' in line]
    assert len(downloads) == 1


async def test_a_changed_blob_is_refused_and_leaves_nothing(
    images: Images, paths: Paths, server: Registry, tmp_path: Path
) -> None:
    archive(tmp_path / "app.tar", LAYER)
    digest = server.push(tmp_path / "app.tar", "app:1")
    layer = json.loads(server.get("app", digest))["layers"][0]["digest"]
    file = server.blob_file(layer)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ShoalError):
        await images.pull(f"{server.address}/app:1", None)
    assert images.list() == []
    assert list((paths.images / "layers").iterdir()) == list((paths.images / "staging").iterdir()) == []


async def test_a_cancelled_pull_leaves_nothing(images: Images, paths: Paths, server: Registry, tmp_path: Path) -> None:
    archive(tmp_path / "app.tar", LAYER)
    server.push(tmp_path / "app.tar", "app:1")

    async def pull(begun: asyncio.Event) -> None:
        await images.pull(f"{server.address}/app:1", None, lambda _: begun.set())

    async with asyncio.TaskGroup() as group:
        begun = asyncio.Event()
        task = group.create_task(pull(begun))
        await begun.wait()
        task.cancel()
    assert images.list() == []
    assert list((paths.images / "staging").iterdir()) == []
    assert await images.pull(f"{server.address}/app:1", None)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Paths]:
    """Yield a data root on a disk of 24 MiB."""
    (tmp_path / "small").mkdir()
    linux.mount("tmpfs", str(tmp_path / "small"), "tmpfs", 0, "size=24m")
    yield Paths(tmp_path / "small", tmp_path / "exec")
    linux.umount(str(tmp_path / "small"))


@pytest.mark.parametrize("when", ["unpacking", "before", "downloading"])
async def test_a_full_disk_ends_a_pull_and_leaves_nothing(
    small: Paths, server: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    images, known = Images(small), files(a=b"1")
    archive(tmp_path / "known.tar", known)
    server.push(tmp_path / "known.tar", "known:1")
    image = await images.pull(f"{server.address}/known:1", None)
    # The zeros are small while they are compressed.
    archive(tmp_path / "big.tar", known, files(big=bytes(50 << 20) if when == "unpacking" else os.urandom(40 << 20)))
    server.push(tmp_path / "big.tar", "big:1")
    if when == "downloading":  # as if another program fills the disk meanwhile
        monkeypatch.setattr(unpack_child, "need_room", lambda *_: None)
    free = shutil.disk_usage(small.data_root).free
    with pytest.raises(ShoalError, match="no space left on device"):
        await images.pull(f"{server.address}/big:1", None)
    assert shutil.disk_usage(small.data_root).free >= free
    assert os.listdir(small.images / "staging") == []
    assert images.list() == [image]
    assert images.layers.all() == list(image.layers)
    assert await images.pull(f"{server.address}/known:1", None) == image
