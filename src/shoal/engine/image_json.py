"""How an image reads in Docker's JSON. Pure. Source of the shapes: moby api/types/image/{summary,image_inspect}.go."""

from collections.abc import Mapping
from typing import Any

from shoal.engine.container_json import instant
from shoal.runtime.image_types import DistributionInspect, Progress, Removed
from shoal.runtime.types import Image


def _text(config: Mapping[str, object], key: str) -> str:
    return str(config.get(key) or "")


def summary(image: Image, containers: int = -1) -> dict[str, Any]:
    """Return an image as `GET /images/json` lists it. `containers`: how many use it, -1 when not counted."""
    inner = image.config.get("config")
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    return {
        "Containers": containers,
        "Created": int(image.created_at),
        "Id": image.id,
        "Labels": labels,
        "ParentId": "",
        "RepoDigests": list(image.repo_digests),
        "RepoTags": list(image.repo_tags),
        "SharedSize": -1,
        "Size": image.size_bytes,
    }


def inspect(image: Image) -> dict[str, Any]:
    """Return an image as `GET /images/{name}/json` shows it."""
    config = image.config
    shown: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.repo_tags),
        "RepoDigests": list(image.repo_digests),
        "Parent": "",
        "Comment": _comment(config),
        "Created": _text(config, "created") or instant(image.created_at),
        "DockerVersion": _text(config, "docker_version"),
        "Author": _text(config, "author"),
        "Config": config.get("config") or {},
        "Architecture": _text(config, "architecture"),
        "Os": _text(config, "os"),
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "GraphDriver": {"Name": "overlayfs", "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Metadata": {"LastTagTime": instant(0)},
    }
    if variant := _text(config, "variant"):
        shown["Variant"] = variant
    return shown


def _comment(config: Mapping[str, object]) -> str:
    history = config.get("history")
    last = history[-1] if isinstance(history, list) and history else {}
    return _text(config, "comment") or str(last.get("comment", "") if isinstance(last, dict) else "")


def history(image: Image) -> list[dict[str, Any]]:
    """Return an image's steps, the newest first."""
    steps = image.config.get("history")
    rows = [
        {
            "Id": "<missing>",
            "Created": int(image.created_at),
            "CreatedBy": step.get("created_by", ""),
            "Tags": None,
            "Size": 0,
            "Comment": step.get("comment", ""),
        }
        for step in reversed(steps if isinstance(steps, list) else [])
    ]
    if rows:
        rows[0] |= {"Id": image.id, "Tags": list(image.repo_tags) or None, "Size": image.size_bytes}
    return rows


def removal(removed: Removed) -> dict[str, str]:
    """Return one line of what a removal did."""
    return {"Untagged": removed.untagged} if removed.untagged else {"Deleted": removed.deleted}


def progress_line(progress: Progress) -> dict[str, Any]:
    """Return one line of a pull's or load's stream. Source: moby api/types/jsonstream."""
    if progress.stream:
        return {"stream": progress.stream}
    shown: dict[str, Any] = {"status": progress.status}
    if progress.total:
        shown["progressDetail"] = {"current": progress.current, "total": progress.total}
    elif progress.id:
        shown["progressDetail"] = {}
    return shown | ({"id": progress.id} if progress.id else {})


def distribution(found: DistributionInspect) -> dict[str, Any]:
    """Return what a registry holds, as `GET /distribution/{name}/json` shows it."""
    platforms = []
    for platform in found.platforms:
        shown: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
        if platform.os_version:
            shown["os.version"] = platform.os_version
        if platform.os_features:
            shown["os.features"] = list(platform.os_features)
        if platform.variant:
            shown["variant"] = platform.variant
        platforms.append(shown)
    return {
        "Descriptor": {"mediaType": found.media_type, "digest": found.digest, "size": found.size_bytes},
        "Platforms": platforms,
    }
