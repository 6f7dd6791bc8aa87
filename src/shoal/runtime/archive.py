"""Unpacks image archives into a folder, and finds the images and their layers there.

Reads archives of `docker save` (manifest.json, in all its versions) and OCI layouts (index.json). Nothing in the folder
is trusted: a name that does not lead to a plain file inside it is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.errors import InvalidArgument
from shoal.json_text import read_json
from shoal.runtime import image_config, manifests, references
from shoal.runtime.image_config import MAX_CONFIG_BYTES
from shoal.runtime.layers import MAX_LAYERS

MAX_INDEX_BYTES = 4 << 20
MAX_IMAGES = 1000
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """A layer's tar, maybe compressed. `digest` is the file's digest if the archive names it."""

    file: Path
    diff_id: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image of an archive. `names` are full tagged references."""

    config: bytes
    layers: tuple[ArchivedLayer, ...]
    names: tuple[str, ...]


def read(folder: Path) -> list[ArchivedImage]:
    """Return the images of an unpacked archive. Raises InvalidArgument."""
    try:
        if (folder / "manifest.json").is_file():
            entries = image_config.archive_items(read_json(_content(folder, "manifest.json", MAX_INDEX_BYTES)))
            if len(entries) > MAX_IMAGES:
                raise InvalidArgument(f"more than {MAX_IMAGES} images in one archive")
            return [_docker_image(folder, entry) for entry in entries]
        if (folder / "index.json").is_file():
            return _layout_images(folder)
    except image_config.WrongType as error:
        raise InvalidArgument(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        # RuntimeError: a loop of links, or JSON that is too deep for Python.
        raise InvalidArgument(f"invalid image archive: {error}") from error
    raise InvalidArgument("invalid image archive: neither manifest.json nor index.json is in it")


def _file(folder: Path, name: str) -> Path:
    """Return a file's path. Links are followed, because old archives link equal layers, but not out of the folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise InvalidArgument(f"invalid image archive: {name} is not a file of it")
    return path


def _content(folder: Path, name: str, limit: int) -> bytes:
    path = _file(folder, name)
    if path.stat().st_size > limit:
        raise InvalidArgument(f"invalid image archive: {name} is larger than {limit} bytes")
    return path.read_bytes()


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _docker_image(folder: Path, entry: dict[str, Any]) -> ArchivedImage:
    config = _content(folder, entry.get("Config", ""), MAX_CONFIG_BYTES)
    _, diff_ids = image_config.parse(config)
    layers = _layers(diff_ids, [(_file(folder, name), "") for name in entry.get("Layers", ())])
    names = tuple(_name(tag) for tag in entry.get("RepoTags", ()))
    return ArchivedImage(config, layers, names)


def _name(text: str) -> str:
    reference = references.parse(text).tagged()
    if reference.digest:
        raise InvalidArgument(f"invalid tag {text!r}")
    return reference.full


def _layers(diff_ids: tuple[str, ...], files: list[tuple[Path, str]]) -> tuple[ArchivedLayer, ...]:
    if len(files) != len(diff_ids):
        raise InvalidArgument(f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, got {len(files)}")
    if len(files) > MAX_LAYERS:
        raise InvalidArgument("max depth exceeded")
    return tuple(ArchivedLayer(file, diff_id, digest) for (file, digest), diff_id in zip(files, diff_ids, strict=True))


def _layout_images(folder: Path) -> list[ArchivedImage]:
    index = manifests.parse(_content(folder, "index.json", MAX_INDEX_BYTES))
    if not isinstance(index, manifests.Index) or len(index.manifests) > MAX_IMAGES:
        raise InvalidArgument("invalid image archive: index.json is no index")
    return [_layout_image(folder, entry) for entry in index.manifests]


def _layout_image(folder: Path, entry: manifests.Descriptor) -> ArchivedImage:
    manifest = manifests.parse(_verified(folder, entry.digest))
    if isinstance(manifest, manifests.Index):
        chosen = manifests.choose(manifest, manifests.host_platform())
        manifest = manifests.parse(_verified(folder, chosen.digest))
    if not isinstance(manifest, manifests.Manifest):
        raise InvalidArgument("invalid image archive: an index in an index in an index")
    config = _verified(folder, manifest.config.digest)
    _, diff_ids = image_config.parse(config)
    files = [(_file(folder, _blob(layer.digest)), layer.digest) for layer in manifest.layers]
    names = []
    for key in _NAME_ANNOTATIONS:
        name = (entry.annotations or {}).get(key, "")
        # The second annotation may be a bare tag, which does not name an image.
        if "/" in name or ":" in name:
            names = [_name(name)]
            break
    return ArchivedImage(config, _layers(diff_ids, files), tuple(names))


def _verified(folder: Path, digest: str) -> bytes:
    data = _content(folder, _blob(digest), MAX_CONFIG_BYTES)
    if manifests.digest_of(data) != digest:
        raise InvalidArgument(f"invalid image archive: the blob {digest} is damaged")
    return data
