"""The JSON of an image. Pure.

Source of the shapes: moby api/types/image/{summary,image_inspect,history}.go, api/types/jsonstream. Source of the
fields of older API versions: daemon/server/router/image/{image_routes,inspect_response}.go.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shoal.engine.container_json import image_config, instant
from shoal.runtime.image_types import DistributionInspect, Progress, Removed
from shoal.runtime.types import Image

# Until API 1.51 these fields are always shown; until 1.49, those of a container as well.
_CONFIG: dict[str, Any] = {
    "Cmd": None,
    "Entrypoint": None,
    "Env": None,
    "Labels": None,
    "OnBuild": None,
    "User": "",
    "Volumes": None,
    "WorkingDir": "",
}
_OLD_CONFIG: dict[str, Any] = _CONFIG | {
    "AttachStderr": False,
    "AttachStdin": False,
    "AttachStdout": False,
    "Domainname": "",
    "Hostname": "",
    "Image": "",
    "OpenStdin": False,
    "StdinOnce": False,
    "Tty": False,
}


def _text(config: Mapping[str, object], key: str) -> str:
    return str(config.get(key) or "")


def summary(image: Image, containers: int = -1) -> dict[str, Any]:
    """Return an image as `GET /images/json` lists it. `containers` is how many use it, or -1 if not counted."""
    return {
        "Containers": containers,
        "Created": int(image.created_at),
        "Id": image.id,
        "Labels": image_config(image).get("Labels"),
        "ParentId": "",
        "RepoDigests": list(image.repo_digests),
        "RepoTags": list(image.repo_tags),
        "SharedSize": -1,
        "Size": image.size_bytes,
    }


def listed(image: Image, names: tuple[Sequence[str], Sequence[str]], api: int) -> dict[str, Any]:
    """Return an image for the list of an API version. `names` are the tags and digests to show."""
    tags, digests = names
    shown = summary(image) | {"RepoTags": list(tags), "RepoDigests": list(digests)}
    if api < 43 and not tags and not digests:
        shown |= {"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}
    if api < 44:
        shown["VirtualSize"] = image.size_bytes
    return shown


def inspect(image: Image, api: int, *, driver: str) -> dict[str, Any]:
    """Return an image for `GET /images/{name}/json` of an API version. `driver` is the storage driver."""
    config = image.config
    shown: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.repo_tags),
        "RepoDigests": list(image.repo_digests),
        "Parent": "",
        "Comment": _comment(config),
        "DockerVersion": _text(config, "docker_version"),
        "Author": _text(config, "author"),
        "Config": (_CONFIG if api >= 50 else _OLD_CONFIG) | dict(image_config(image)),
        "Architecture": _text(config, "architecture"),
        "Os": _text(config, "os"),
        "Size": image.size_bytes,
        "GraphDriver": {"Name": driver, "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Metadata": {"LastTagTime": instant(0)},
    }
    if created := _text(config, "created"):
        shown["Created"] = created
    elif api < 44:
        shown["Created"] = instant(0)
    if variant := _text(config, "variant"):
        shown["Variant"] = variant
    if version := _text(config, "os.version"):
        shown["OsVersion"] = version
    if api < 44:
        shown["VirtualSize"] = image.size_bytes
    if api < 45:
        shown |= {"Container": "", "ContainerConfig": None}
    return shown


def _steps(config: Mapping[str, object]) -> list[dict[str, Any]]:
    steps = config.get("history")
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _comment(config: Mapping[str, object]) -> str:
    steps = _steps(config)
    return _text(config, "comment") or (_text(steps[-1], "comment") if steps else "")


def history(image: Image) -> list[dict[str, Any]]:
    """Return the steps of an image, newest first. The sizes of single steps are unknown; the newest gets all."""
    rows: list[dict[str, Any]] = [
        {
            "Id": "<missing>",
            "Created": _unix_time(_text(step, "created"), image.created_at),
            "CreatedBy": _text(step, "created_by"),
            "Tags": None,
            "Size": 0,
            "Comment": _text(step, "comment"),
        }
        for step in reversed(_steps(image.config))
    ]
    if rows:
        rows[0] |= {"Id": image.id, "Tags": list(image.repo_tags) or None, "Size": image.size_bytes}
    return rows


def _unix_time(text: str, default: float) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return int(default)


def removal(removed: Removed) -> dict[str, str]:
    """Return the JSON of one step of a removal."""
    return {"Untagged": removed.untagged} if removed.untagged else {"Deleted": removed.deleted}


def progress_line(progress: Progress) -> dict[str, Any]:
    """Return one line of the stream of a pull or load."""
    if progress.stream:
        return {"stream": progress.stream}
    shown: dict[str, Any] = {"status": progress.status}
    if progress.total:
        shown["progressDetail"] = {"current": progress.current, "total": progress.total}
    elif progress.id:
        shown["progressDetail"] = {}
    return shown | ({"id": progress.id} if progress.id else {})


def error_line(message: str) -> dict[str, Any]:
    """Return the last line of a stream that failed."""
    return {"errorDetail": {"message": message}, "error": message}


def distribution(found: DistributionInspect) -> dict[str, Any]:
    """Return the answer of `GET /distribution/{name}/json`: what a registry holds."""
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
