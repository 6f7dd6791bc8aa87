"""Reads image manifests and indexes of registries and archives. Pure.

Source of names and media types: OCI image-spec, distribution's manifest schema 2.
"""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shoal.errors import InvalidArgument, NotFound
from shoal.json_text import read_json
from shoal.runtime.image_types import Platform
from shoal.runtime.layers import MAX_LAYERS
from shoal.runtime.references import is_digest

MAX_MANIFEST_BYTES = 4 << 20
"""Docker's limit: moby distribution/pull_v2.go, maxManifestSize."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
}


_ANY = Platform()


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob."""

    media_type: str
    digest: str
    size: int
    platform: Platform = _ANY
    annotations: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its config and its compressed layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Several images under one name, one for each platform."""

    media_type: str
    manifests: tuple[Descriptor, ...]


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def host_platform() -> Platform:
    """Return the platform of this host."""
    architecture, variant = _ARCHITECTURES.get(platform.machine(), (platform.machine(), ""))
    return Platform("linux", architecture, variant)


def parse(data: bytes) -> Manifest | Index:
    """Read a manifest or an index. Raises InvalidArgument, also for formats that are too old for Docker."""
    try:
        if len(data) > MAX_MANIFEST_BYTES:
            raise ValueError("it is too large")
        fields = read_json(data)
        media_type = fields.get("mediaType") or ""
        if not isinstance(media_type, str):
            raise ValueError("its mediaType is not a string")
        if fields.get("schemaVersion") == 1 or media_type.startswith(_SCHEMA_1):
            raise InvalidArgument("unsupported media type application/vnd.docker.distribution.manifest.v1+prettyjws")
        if media_type in (OCI_INDEX, DOCKER_LIST) or (not media_type and "manifests" in fields):
            listed = tuple(_descriptor(entry) for entry in fields["manifests"])
            return Index(media_type or OCI_INDEX, listed)
        if media_type not in (OCI_MANIFEST, DOCKER_MANIFEST, ""):
            raise InvalidArgument(f"unsupported media type {media_type}")
        layers = tuple(_descriptor(entry) for entry in fields["layers"])
        if len(layers) > MAX_LAYERS:
            raise InvalidArgument("max depth exceeded")  # Docker's words: moby layer/layer.go
        return Manifest(media_type or OCI_MANIFEST, _descriptor(fields["config"]), layers)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidArgument(f"invalid image manifest: {error}") from error


def _descriptor(fields: Mapping[str, Any]) -> Descriptor:
    digest, size = fields["digest"], fields["size"]
    if not isinstance(digest, str) or not is_digest(digest):
        raise ValueError(f"{digest!r} is no blob")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 1 << 63:
        raise ValueError(f"{digest!r} with size {size!r} is no blob")
    where = fields.get("platform") or {}
    found = Platform(
        str(where.get("os") or ""),
        str(where.get("architecture") or ""),
        str(where.get("variant") or ""),
        str(where.get("os.version") or ""),
        tuple(str(feature) for feature in where.get("os.features") or ()),
    )
    annotations = {str(key): str(value) for key, value in (fields.get("annotations") or {}).items()}
    return Descriptor(str(fields.get("mediaType") or ""), digest, size, found, annotations)


def choose(index: Index, wanted: Platform) -> Descriptor:
    """Return the image of an index for a platform: with the same variant, or else the first of the architecture.

    If the index has a single image without a platform, that one is returned. Raises NotFound with Docker's words.
    """
    fitting = [
        entry
        for entry in index.manifests
        if entry.platform.os == wanted.os and entry.platform.architecture == wanted.architecture
    ]
    for entry in fitting:
        if entry.platform.variant == wanted.variant:
            return entry
    if fitting:
        return fitting[0]
    if len(index.manifests) == 1 and not index.manifests[0].platform.architecture:
        return index.manifests[0]
    name = "/".join(part for part in (wanted.os, wanted.architecture, wanted.variant) if part)
    raise NotFound(f"no matching manifest for {name} in the manifest list entries")


def config_platform(data: bytes) -> Platform:
    """Return the platform in an image's config. Raises InvalidArgument."""
    try:
        fields = read_json(data)
        return Platform(
            str(fields.get("os") or ""), str(fields.get("architecture") or ""), str(fields.get("variant") or "")
        )
    except (ValueError, AttributeError, RecursionError) as error:
        raise InvalidArgument(f"invalid image config: {error}") from error
