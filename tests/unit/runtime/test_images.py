"""Images loaded, imported, named and removed, with real layers on disk."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import Conflict, InvalidArgument, NotFound, ShoalError
from shoal.host.events import EventBus
from shoal.paths import Paths
from shoal.runtime.images import Images, Progress, Removed
from tests.unit.runtime.tars import entry, files, tar

pytestmark = pytest.mark.root

LAYER, SECOND = files(a=b"1"), files(b=b"22")
NAMED = {"io.containerd.image.name": "docker.io/library/app:1"}


async def stream(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 4096):
        yield data[at : at + 4096]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image_config(*layers: bytes, **config: object) -> bytes:
    diff_ids = [digest(layer) for layer in layers]
    return json.dumps(
        {"created": "2026-01-01T00:00:00Z", "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()


def saved(*layers: bytes, name: str = "app:1", **config: object) -> bytes:
    """Return an archive as `docker save` of version 24 and before writes it."""
    data = image_config(*layers, **config)
    parts = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": [name] if name else None, "Layers": list(parts)}]
    return files(**{"config.json": data, **parts, "manifest.json": json.dumps(manifest).encode()})


def blob(digest_: str) -> str:
    return "blobs/" + digest_.replace(":", "/")


def layout(*layers: bytes, docker: bool, **annotations: str) -> bytes:
    """Return an archive as `docker save` writes it since version 25, with manifest.json or as a bare OCI layout."""
    data = image_config(*layers)
    described = [{"mediaType": "x", "digest": digest(layer), "size": len(layer)} for layer in layers]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": "x", "digest": digest(data), "size": len(data)},
            "layers": described,
        }
    ).encode()
    index = {
        "schemaVersion": 2,
        "manifests": [
            {"mediaType": "x", "digest": digest(manifest), "size": len(manifest), "annotations": annotations}
        ],
    }
    parts = {blob(digest(part)): part for part in (*layers, data, manifest)}
    parts["index.json"], parts["oci-layout"] = json.dumps(index).encode(), b'{"imageLayoutVersion":"1.0.0"}'
    if docker:
        names = [blob(digest(layer)) for layer in layers]
        parts["manifest.json"] = json.dumps(
            [{"Config": blob(digest(data)), "RepoTags": ["app:1"], "Layers": names}]
        ).encode()
    return files(**parts)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data", tmp_path / "exec")


@pytest.fixture
def images(paths: Paths) -> Images:
    return Images(paths)


async def test_an_archive_of_docker_save_is_loaded(images: Images, paths: Paths) -> None:
    told: list[Progress] = []
    assert await images.load(stream(saved(LAYER, SECOND, Cmd=["sh"])), told.append) == ["app:1"]
    assert told == [Progress(stream="Loaded image: app:1\n")]
    for opened in (images, Images(paths)):
        image = opened.get("app:1")
        assert image.layers == (digest(LAYER), digest(SECOND))
        assert image.config["config"] == {"Cmd": ["sh"]}
        assert (image.repo_tags, image.repo_digests, image.size_bytes) == (("app:1",), (), 3)
        assert image.created_at == 1767225600
        upper, lower = opened.lower_dirs(image.id)
        assert (Path(upper, "b").read_bytes(), Path(lower, "a").read_bytes()) == (b"22", b"1")
        assert opened.list() == [image]
    assert list((paths.images / "staging").iterdir()) == []


@pytest.mark.parametrize("docker", [True, False])
async def test_an_oci_layout_is_loaded(images: Images, docker: bool) -> None:
    data = layout(
        LAYER, gzip.compress(SECOND), docker=docker, **{"io.containerd.image.name": "docker.io/library/app:1"}
    )
    config = image_config(LAYER, gzip.compress(SECOND))
    with pytest.raises(InvalidArgument, match="layer verification failed"):
        await images.load(stream(data))  # the config names the digest of the compressed layer, which is no diff id
    assert images.list() == []
    data = layout(LAYER, SECOND, docker=docker, **NAMED)
    assert await images.load(stream(data)) == ["app:1"]
    assert images.get("app:1").id == digest(image_config(LAYER, SECOND)) != digest(config)


async def test_a_compressed_archive_and_one_without_a_name(images: Images) -> None:
    loaded = await images.load(stream(gzip.compress(saved(LAYER, name=""))))
    assert loaded == [digest(image_config(LAYER))]
    assert images.get(loaded[0]).repo_tags == ()


async def test_an_old_archive_links_a_layer_that_is_there_twice(images: Images) -> None:
    data = image_config(LAYER, LAYER)
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}])
    archive = tar(
        (entry("c.json"), data),
        (entry("a/layer.tar"), LAYER),
        entry("b/layer.tar", tarfile.SYMTYPE, linkname="../a/layer.tar"),
        (entry("manifest.json"), manifest.encode()),
    )
    assert await images.load(stream(archive)) == ["app:1"]


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (files(x=b"1"), "neither manifest.json nor index.json"),
        (files(**{"manifest.json": b"{"}), "invalid image archive"),
        (files(**{"manifest.json": b'[{"Config": "c.json"}]'}), "c.json is not a file of it"),
        (files(**{"manifest.json": b'[{"Config": "/etc/passwd", "Layers": []}]'}), "/etc/passwd is not a file of it"),
        (files(**{"manifest.json": b'[{"Config": "../../x", "Layers": []}]'}), "is not a file of it"),
        (
            tar(
                entry("c.json", tarfile.SYMTYPE, linkname="/etc/passwd"),
                (entry("manifest.json"), b'[{"Config": "c.json", "Layers": []}]'),
            ),
            "is not a file of it",
        ),
        (
            tar(
                entry("loop", tarfile.SYMTYPE, linkname="loop"),
                (entry("manifest.json"), b'[{"Config": "loop", "Layers": []}]'),
            ),
            "invalid image archive: .*loop",
        ),
        (saved(LAYER)[:3000], "invalid tar"),
        (
            files(**{"manifest.json": b'[{"Config": "c", "Layers": []}]', "c": image_config(LAYER)}),
            "layers length mismatch",
        ),
    ],
)
async def test_what_is_no_archive_is_refused_and_leaves_nothing(
    images: Images, paths: Paths, archive: bytes, why: str
) -> None:
    with pytest.raises(InvalidArgument, match=why):
        await images.load(stream(archive))
    assert images.list() == []
    assert list((paths.images / "staging").iterdir()) == []


async def test_a_root_file_system_is_imported_with_changes(images: Images) -> None:
    events = EventBus()
    images._events = events
    image = await images.import_(stream(LAYER), "app", "", ['CMD ["sh"]', "ENV A=1"], "")
    assert image == images.get("app")
    assert image.layers == (digest(LAYER),)
    assert image.config["config"] == {"Cmd": ["sh"], "Env": ["A=1"]}
    assert image.config["comment"] == "Imported from -"
    assert [(event.type, event.action) for event in events.since(0)] == [("image", "import")]


async def test_a_bad_change_is_refused_before_the_tar_is_read(images: Images) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the tar was read")
        yield b""

    with pytest.raises(InvalidArgument, match="run is not a valid change command"):
        await images.import_(unread(), "app", "", ["RUN x"], "")


async def test_a_name_given_again_moves(images: Images) -> None:
    await images.import_(stream(LAYER), "app", "", [], "one")
    new = await images.import_(stream(LAYER), "app", "", [], "two")
    assert images.get("app").id == new.id
    assert sorted(image.repo_tags for image in images.list()) == [(), ("app:latest",)]


async def test_tagging(images: Images) -> None:
    image = await images.import_(stream(LAYER), "app", "", [], "")
    await images.tag("app", "r:5000/team/app", "v2")
    assert images.get("r:5000/team/app:v2").repo_tags == ("app:latest", "r:5000/team/app:v2")
    await images.tag(image.id[7:19], "more", "")
    assert images.get("more").id == image.id
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        await images.tag("app", "a:b:c", "")
    with pytest.raises(NotFound, match="No such image: nope:latest"):
        await images.tag("nope", "app", "")


async def test_removing_the_last_name_removes_what_nothing_else_needs(images: Images, paths: Paths) -> None:
    await images.load(stream(saved(LAYER, SECOND, name="app:1")))
    await images.load(stream(saved(LAYER, name="base:1")))
    image_id = images.get("app:1").id
    assert await images.remove("app:1") == [
        Removed(untagged="app:1"),
        Removed(deleted=image_id),
        Removed(deleted=digest(SECOND)),
    ]
    assert [path.name for path in (paths.images / "layers").iterdir()] == [digest(LAYER)[7:]]
    with pytest.raises(NotFound, match="No such image: app:1"):
        images.get("app:1")
    assert images.get("base:1")


async def test_a_used_image_stays(images: Images) -> None:
    image = await images.import_(stream(LAYER), "app", "", [], "")
    images.hold(image.id, "c" * 64)
    with pytest.raises(Conflict, match="container cccccccccccc is using its referenced image"):
        await images.remove("app")
    assert (await images.prune(False)).removed == ()
    images.release(image.id, "c" * 64)
    assert Removed(deleted=image.id) in (await images.prune(False)).removed


async def test_by_force_a_stopped_container_keeps_the_layers(images: Images, paths: Paths) -> None:
    image = await images.import_(stream(LAYER), "app", "", [], "")
    images.hold(image.id, "c1")
    images.running = lambda _: False
    await images.remove("app", force=True)
    assert images.list() == []
    assert Path(images.lower_dirs(image.id)[0], "a").exists()
    again = Images(paths)
    again.hold(image.id, "c1")
    await again.sweep()
    assert Path(again.lower_dirs(image.id)[0], "a").exists()
    again.release(image.id, "c1")
    await again.sweep()
    assert list((paths.images / "layers").iterdir()) == []


async def test_pruning_takes_the_nameless_and_then_all(images: Images) -> None:
    await images.import_(stream(LAYER), "app", "", [], "one")
    await images.import_(stream(SECOND), "app", "", [], "two")
    report = await images.prune(True)
    assert report.reclaimed_bytes == 1
    assert [image.repo_tags for image in images.list()] == [("app:latest",)]
    assert (await images.prune(False)).reclaimed_bytes == 2
    assert images.list() == []


async def test_with_a_damaged_record_no_layer_is_removed(images: Images, paths: Paths) -> None:
    image = await images.import_(stream(LAYER), "app", "", [], "")
    other = await images.import_(stream(SECOND), "other", "", [], "")
    (paths.images / "records" / f"{image.id[7:]}.json").write_bytes(b"{")
    again = Images(paths)
    await again.remove("other")
    await again.sweep()
    assert len(list((paths.images / "layers").iterdir())) == 2
    with pytest.raises(NotFound):
        again.lower_dirs(other.id)


async def test_a_layer_that_is_gone_is_named(images: Images) -> None:
    image = await images.import_(stream(LAYER), "app", "", [], "")
    await images.layers.remove(image.layers)
    with pytest.raises(ShoalError, match=f"the layer {digest(LAYER)} of image"):
        images.lower_dirs(image.id)


async def test_a_tar_in_memory_is_what_docker_import_sends(images: Images) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.addfile(entry("etc", tarfile.DIRTYPE))
    image = await images.import_(stream(out.getvalue()), "", "", [], "")
    assert image.repo_tags == ()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"Labels": ["a"]}, "json: cannot unmarshal array into Go struct field Config.config.Labels"),
        ({"Entrypoint": {"sh": 1}}, "json: cannot unmarshal object into Go struct field Config.config.Entrypoint"),
    ],
)
async def test_an_image_of_wrong_types_is_refused_and_leaves_nothing(
    images: Images, config: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidArgument, match=why):
        await images.load(stream(saved(LAYER, **config)))
    assert images.list() == []
    assert images.layers.all() == []


async def test_an_archive_whose_second_layer_is_another_leaves_nothing_of_it(images: Images) -> None:
    data = image_config(LAYER, SECOND)
    listed = [{"Config": "c", "RepoTags": ["app:1"], "Layers": ["1", "2"]}]
    parts = {"c": data, "1": LAYER, "2": LAYER, "manifest.json": json.dumps(listed).encode()}
    with pytest.raises(InvalidArgument, match="layer verification failed"):
        await images.load(stream(files(**parts)))
    assert images.list() == []
    assert images.layers.all() == []


@pytest.mark.parametrize(
    "listed",
    [
        {"Config": ["c"], "Layers": []},
        {"Config": "c", "Layers": [], "RepoTags": "ab"},
        {"Config": "c", "Layers": {"1": 1}},
        {"Config": "c", "Layers": [], "RepoTags": [f"app@sha256:{'a' * 64}"]},
        {"Config": "c\0", "Layers": []},
        {"Config": "round", "Layers": []},
        [],
        None,
    ],
)
async def test_a_list_of_wrong_types_is_refused(images: Images, listed: object) -> None:
    parts = [
        (entry(name), data) for name, data in (("c", image_config()), ("manifest.json", json.dumps([listed]).encode()))
    ]
    round_ = [entry("round", tarfile.SYMTYPE, linkname="trip"), entry("trip", tarfile.SYMTYPE, linkname="round")]
    with pytest.raises(InvalidArgument):
        await images.load(stream(tar(*parts, *round_)))
    assert images.list() == []
