"""Manifests and indexes."""

import json
from typing import Any

import pytest

from shoal.errors import InvalidArgument, NotFound
from shoal.runtime import manifests
from shoal.runtime.image_types import Platform
from shoal.runtime.manifests import Index, Manifest

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def entry(digest: str, **fields: Any) -> dict[str, Any]:
    return {"mediaType": "application/octet-stream", "digest": digest, "size": 3, **fields}


def on(architecture: str, variant: str = "") -> dict[str, Any]:
    return {"platform": {"os": "linux", "architecture": architecture, "variant": variant}}


def index(*entries: dict[str, Any]) -> Index:
    parsed = manifests.parse(json.dumps({"mediaType": manifests.OCI_INDEX, "manifests": entries}).encode())
    assert isinstance(parsed, Index)
    return parsed


def test_a_manifest_has_its_config_and_layers_in_order() -> None:
    data = json.dumps({"schemaVersion": 2, "config": entry(A), "layers": [entry(B), entry(A)]}).encode()
    parsed = manifests.parse(data)
    assert isinstance(parsed, Manifest)
    assert parsed.config.digest == A
    assert [layer.digest for layer in parsed.layers] == [B, A]


def test_the_image_of_this_platform_is_chosen() -> None:
    found = index(entry(A, **on("arm64", "v8")), entry(B, **on("amd64")))
    assert manifests.choose(found, Platform("linux", "amd64")).digest == B
    assert manifests.choose(found, Platform("linux", "arm64", "v8")).digest == A


def test_another_variant_is_better_than_none() -> None:
    assert manifests.choose(index(entry(A, **on("arm", "v6"))), Platform("linux", "arm", "v7")).digest == A


def test_no_image_for_this_platform_is_said_in_dockers_words() -> None:
    with pytest.raises(NotFound, match="no matching manifest for linux/amd64 in the manifest list entries"):
        manifests.choose(index(entry(A, **on("s390x"))), Platform("linux", "amd64"))


def test_a_single_image_without_a_platform_is_taken() -> None:
    assert manifests.choose(index(entry(A)), Platform("linux", "amd64")).digest == A


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, r"manifest\.v1\+prettyjws"),
        ({"mediaType": "text/plain", "config": {}, "layers": []}, "unsupported media type text/plain"),
        ({"config": entry(A), "layers": [entry("sha256:../../etc")]}, "is no blob"),
        ({"config": entry(A), "layers": [entry(A, size=-1)]}, "is no blob"),
        ({"config": entry(A), "layers": [entry(A, size="3")]}, "is no blob"),
        ({"config": entry(A), "layers": [entry(A, size=True)]}, "is no blob"),
        ({"config": entry(A), "layers": [entry(A, size=1 << 63)]}, "is no blob"),
        ({"mediaType": ["text/plain"], "config": entry(A), "layers": []}, "mediaType is not a string"),
        ({"config": entry(A), "layers": [entry(A)] * 128}, "max depth exceeded"),
        ({"config": entry(A)}, "invalid image manifest"),
        ([], "invalid image manifest"),
    ],
)
def test_what_is_no_manifest_is_refused(fields: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        manifests.parse(json.dumps(fields).encode())


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        manifests.parse(b"[" * 200_000)
