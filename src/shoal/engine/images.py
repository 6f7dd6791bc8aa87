"""Images of this host: list, inspect, pull, import, load, tag, remove, prune, and what a registry holds."""

import asyncio
import fnmatch
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from shoal.engine import image_json
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call, Filters
from shoal.engine.streams import start_json_stream, write_json
from shoal.errors import InvalidArgument, ShoalError, Unimplemented
from shoal.runtime.image_types import Progress, parse_registry_auth
from shoal.runtime.types import Image

FILTERS = frozenset({"before", "dangling", "label", "reference", "since"})
# Progress lines that a slow client has not read yet; further ones are dropped until it reads on.
QUEUED_LINES = 1024


async def list_images(call: Call) -> web.StreamResponse:
    """GET /images/json, newest first."""
    filters = call.filters(FILTERS)
    found = sorted(call.backend.images.list(), key=lambda image: image.created_at, reverse=True)
    for ref in filters.get("before"):
        found = [image for image in found if image.created_at < call.backend.images.get(ref).created_at]
    for ref in filters.get("since"):
        found = [image for image in found if image.created_at > call.backend.images.get(ref).created_at]
    return json_reply([image_json.summary(image) for image in found if _matches(call, image, filters)])


def _matches(call: Call, image: Image, filters: Filters) -> bool:
    inner = image.config.get("config")
    labels = (inner.get("Labels") if isinstance(inner, dict) else None) or {}
    if not filters.labels("label", labels):
        return False
    if "dangling" in filters and filters.flag("dangling") != (not image.repo_tags):
        return False
    wanted = filters.get("reference")
    names = [*image.repo_tags, *image.repo_digests]
    return not wanted or any(_names(pattern, name) for pattern in wanted for name in names)


def _names(pattern: str, name: str) -> bool:
    """Whether a reference is meant by `busybox`, `busybox:1.36`, `registry/*:latest`."""

    repository = name.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(repository, pattern)


def _refuse_other_platforms(call: Call) -> None:
    """Images are of this host's platform: to ask for another one is refused, not ignored."""
    here = call.backend.host.architecture
    for name in ("platform", "platforms"):
        for text in call.http.query.getall(name, []):
            if text and _architecture(text) != here:
                raise Unimplemented(
                    f"images for {text} are not supported by this daemon: it takes those for linux/{here}"
                )


def _architecture(platform: str) -> str:
    """Return the processor of `linux/arm64` or `{"os": "linux", "architecture": "arm64"}`; empty for another system."""
    try:
        given = json.loads(platform)
    except (ValueError, RecursionError):
        system, _, rest = platform.partition("/")
        return rest.partition("/")[0] if system == "linux" else ""
    is_linux = isinstance(given, dict) and given.get("os") == "linux"
    return str(given.get("architecture")) if is_linux else ""


async def inspect_image(call: Call) -> web.StreamResponse:
    """GET /images/{name}/json."""
    _refuse_other_platforms(call)
    return json_reply(image_json.inspect(call.backend.images.get(call.path["name"])))


async def image_history(call: Call) -> web.StreamResponse:
    """GET /images/{name}/history."""
    _refuse_other_platforms(call)
    return json_reply(image_json.history(call.backend.images.get(call.path["name"])))


async def create_image(call: Call) -> web.StreamResponse:
    """POST /images/create: a pull with `fromImage`, an import of the body with `fromSrc=-`."""
    _refuse_other_platforms(call)
    if name := call.query("fromImage"):
        tag = call.query("tag")
        separator = "@" if ":" in tag else ":"
        reference = f"{name}{separator}{tag}" if tag else name
        auth = parse_registry_auth(call.header("X-Registry-Auth"))

        async def pull(tell: Callable[[Progress], None]) -> None:
            await call.backend.images.pull(reference, auth, tell)

        return await _stream(call, pull)
    if call.query("fromSrc") != "-":
        raise InvalidArgument("Shoal imports what the client sends (fromSrc=-), not what is at an address")
    changes = tuple(call.http.query.getall("changes", []))
    repository, tag, message = call.query("repo"), call.query("tag"), call.query("message")

    async def import_(tell: Callable[[Progress], None]) -> None:
        image = await call.backend.images.import_(_body(call), repository, tag, list(changes), message)
        tell(Progress(status=image.id))

    return await _stream(call, import_)


def _body(call: Call) -> AsyncIterator[bytes]:
    return call.http.content.iter_any()


async def load_images(call: Call) -> web.StreamResponse:
    """POST /images/load: what `docker save` wrote."""
    _refuse_other_platforms(call)

    async def load(tell: Callable[[Progress], None]) -> None:
        await call.backend.images.load(_body(call), None if call.flag("quiet") else tell)

    return await _stream(call, load)


async def _stream(call: Call, work: Callable[[Callable[[Progress], None]], Awaitable[None]]) -> web.StreamResponse:
    """Answer with the progress of `work` as it happens.

    As Docker, an error before the first line is an ordinary answer with its status; after it, the stream's last line.
    """
    lines: asyncio.Queue[Progress | None] = asyncio.Queue()
    failed: list[ShoalError] = []

    def tell(progress: Progress) -> None:
        if lines.qsize() < QUEUED_LINES:
            lines.put_nowait(progress)

    async def run() -> None:
        try:
            await work(tell)
        except ShoalError as error:
            failed.append(error)
        finally:
            lines.put_nowait(None)

    response: web.StreamResponse | None = None
    async with asyncio.TaskGroup() as group:
        group.create_task(run(), name="image transfer")
        while (progress := await lines.get()) is not None:
            response = response or await start_json_stream(call)
            await write_json(response, image_json.progress_line(progress))
    if failed and response is None:
        raise failed[0]
    response = response or await start_json_stream(call)
    if failed:
        message = str(failed[0])
        await write_json(response, {"errorDetail": {"message": message}, "error": message})
    await response.write_eof()
    return response


async def tag_image(call: Call) -> web.StreamResponse:
    """POST /images/{name}/tag?repo=&tag=."""
    await call.backend.images.tag(call.path["name"], call.query("repo"), call.query("tag"))
    return empty_reply(201)


async def remove_image(call: Call) -> web.StreamResponse:
    """DELETE /images/{name}?force=&noprune=."""
    _refuse_other_platforms(call)
    done = await call.backend.images.remove(call.path["name"], call.flag("force"), not call.flag("noprune"))
    return json_reply([image_json.removal(removed) for removed in done])


async def prune_images(call: Call) -> web.StreamResponse:
    """POST /images/prune: untagged ones, with the filter dangling=false all that no container uses."""
    filters = call.filters(frozenset({"dangling"}))
    report = await call.backend.images.prune(filters.flag("dangling", True))
    deleted = [image_json.removal(removed) for removed in report.removed]
    return json_reply({"ImagesDeleted": deleted or None, "SpaceReclaimed": report.reclaimed_bytes})


async def prune_build_cache(_: Call) -> web.StreamResponse:
    """POST /build/prune: there is no cache, and `docker system prune` empties it last of all."""
    return json_reply({"CachesDeleted": None, "SpaceReclaimed": 0})


async def inspect_distribution(call: Call) -> web.StreamResponse:
    """GET /distribution/{name}/json: digest and platforms, from the registry; `docker service create` pins with it."""
    auth = parse_registry_auth(call.header("X-Registry-Auth"))
    return json_reply(image_json.distribution(await call.backend.images.distribution(call.path["name"], auth)))


async def search(call: Call) -> web.StreamResponse:
    """GET /images/search."""
    raise Unimplemented("Shoal does not search registries")


async def refuse(call: Call) -> web.StreamResponse:
    """Answer what Shoal does not do with images: build, push, save."""
    raise Unimplemented("Shoal runs images and does not build, push or save them: use docker build and docker push")


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/images/json", list_images),
    ("GET", "/images/search", search),
    ("POST", "/images/create", create_image),
    ("POST", "/images/load", load_images),
    ("POST", "/images/prune", prune_images),
    ("GET", "/images/get", refuse),
    ("POST", "/build", refuse),
    ("POST", "/build/prune", prune_build_cache),
    ("GET", "/images/{name:.*}/json", inspect_image),
    ("GET", "/images/{name:.*}/history", image_history),
    ("GET", "/images/{name:.*}/get", refuse),
    ("POST", "/images/{name:.*}/push", refuse),
    ("POST", "/images/{name:.*}/tag", tag_image),
    ("DELETE", "/images/{name:.*}", remove_image),
    ("GET", "/distribution/{name:.*}/json", inspect_distribution),
]
