"""Images of this host: list, inspect, pull, import, load, tag, remove, prune. And a registry's facts about an image."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from shoal.engine import image_filters, image_json, platforms
from shoal.engine.container_json import image_config
from shoal.engine.moments import labels_match, until
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.engine.streams import start_json_stream, write_json
from shoal.errors import InvalidArgument, PermissionDenied, ShoalError, Unimplemented
from shoal.runtime.image_types import Progress, RegistryAuth, parse_registry_auth
from shoal.runtime.types import Image

# Lines that a slow client has not read yet. With more, lines that only move a progress bar are dropped. There are only
# a few other lines for each layer.
QUEUED_LINES = 1024

Tell = Callable[[Progress], None]


async def list_images(call: Call) -> web.StreamResponse:
    """GET /images/json, newest first."""
    filters = call.filters(image_filters.ACCEPTED)
    images = sorted(call.backend.images.list(), key=lambda image: -image.created_at)
    found = image_filters.choose(images, filters, call.backend.images.get, time.time())
    return json_reply([image_json.listed(image, names, call.api) for image, names in found])


async def inspect_image(call: Call) -> web.StreamResponse:
    """GET /images/{name}/json."""
    platforms.refuse_others(call)
    image = call.backend.images.get(call.path["name"])
    return json_reply(image_json.inspect(image, call.api, driver=call.backend.facts.storage_driver))


async def image_history(call: Call) -> web.StreamResponse:
    """GET /images/{name}/history."""
    platforms.refuse_others(call)
    return json_reply(image_json.history(call.backend.images.get(call.path["name"])))


async def create_image(call: Call) -> web.StreamResponse:
    """POST /images/create: a pull with `fromImage`, an import of the body with `fromSrc=-`."""
    platforms.refuse_others(call)
    # `docker pull -a` leaves a colon behind the name.
    if name := call.query("fromImage").removesuffix(":"):
        return await _pull(call, name)
    source = call.query("fromSrc")
    if not source:
        raise InvalidArgument("one of fromImage and fromSrc must be given")
    if source != "-":
        raise Unimplemented("Shoal imports what the client sends (fromSrc=-), not what is at an address")
    changes = call.http.query.getall("changes", [])
    repository, tag, message = call.query("repo"), call.query("tag"), call.query("message")

    async def import_(tell: Tell) -> None:
        image = await call.backend.images.import_(_body(call), repository, tag, changes, message)
        tell(Progress(status=image.id))

    return await _stream(call, import_)


async def _pull(call: Call, name: str) -> web.StreamResponse:
    tag = call.query("tag")
    # The parameter `tag` may hold a digest.
    reference = f"{name}{'@' if ':' in tag else ':'}{tag}" if tag else name
    if name in ("scratch", "docker.io/scratch", "docker.io/library/scratch", "library/scratch"):
        raise PermissionDenied("'scratch' is a reserved name")

    async def pull(tell: Tell) -> None:
        await call.backend.images.pull(reference, _auth(call), tell)

    return await _stream(call, pull)


def _auth(call: Call) -> RegistryAuth | None:
    """Return the credentials of a call. As in Docker, unreadable ones count as none, for old clients."""
    try:
        return parse_registry_auth(call.header("X-Registry-Auth"))
    except InvalidArgument:
        return None


def _body(call: Call) -> AsyncIterator[bytes]:
    return call.http.content.iter_any()


async def load_images(call: Call) -> web.StreamResponse:
    """POST /images/load: an archive of `docker save`. As in Docker, an error is always a line of the stream."""
    platforms.refuse_others(call)

    async def load(tell: Tell) -> None:
        # `quiet` is about progress bars, and a load has none. The loaded names are always shown.
        await call.backend.images.load(_body(call), tell)

    return await _stream(call, load, errors_inside=True)


async def _stream(
    call: Call, work: Callable[[Tell], Awaitable[None]], *, errors_inside: bool = False
) -> web.StreamResponse:
    """Answer with the progress of `work` as it happens.

    As in Docker, an error before the first line is an ordinary answer with its status (unless `errors_inside`). A later
    error is the last line of the stream.
    """
    lines: asyncio.Queue[Progress | None] = asyncio.Queue()
    failed: list[ShoalError] = []

    def tell(progress: Progress) -> None:
        if lines.qsize() < QUEUED_LINES or not progress.total:
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
        transfer = group.create_task(run(), name="image transfer")
        while (progress := await lines.get()) is not None:
            try:
                response = response or await start_json_stream(call)
                await write_json(response, image_json.progress_line(progress))
            except ConnectionError:
                transfer.cancel()  # nobody waits for it any more
                return response or web.Response()
    if failed and response is None and not errors_inside:
        raise failed[0]
    response = response or await start_json_stream(call)
    if failed:
        await write_json(response, image_json.error_line(str(failed[0])))
    await response.write_eof()
    return response


async def tag_image(call: Call) -> web.StreamResponse:
    """POST /images/{name}/tag?repo=&tag=."""
    if call.query("repo") == "sha256":
        raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
    await call.backend.images.tag(call.path["name"], call.query("repo"), call.query("tag"))
    return empty_reply(201)


async def remove_image(call: Call) -> web.StreamResponse:
    """DELETE /images/{name}?force=&noprune=."""
    platforms.refuse_others(call)
    name = call.path["name"]
    if not name.strip():
        raise InvalidArgument("image name cannot be blank")
    done = await call.backend.images.remove(name, call.flag("force"), not call.flag("noprune"))
    return json_reply([image_json.removal(removed) for removed in done])


async def prune_images(call: Call) -> web.StreamResponse:
    """POST /images/prune: removes untagged images, or with the filter dangling=false all that no container uses."""
    filters = call.filters(frozenset({"dangling", "label", "label!", "until"}))
    dangling_only = filters.flag("dangling", True)
    before = until(filters, time.time())

    def wanted(image: Image) -> bool:
        young = before is not None and image.created_at > before
        return not young and labels_match(filters, image_config(image).get("Labels") or {})

    report = await call.backend.images.prune(dangling_only, wanted)
    deleted = [image_json.removal(removed) for removed in report.removed]
    return json_reply({"ImagesDeleted": deleted or None, "SpaceReclaimed": report.reclaimed_bytes})


async def prune_build_cache(_: Call) -> web.StreamResponse:
    """POST /build/prune: answers that nothing was removed. There is no cache, but `docker system prune` calls this."""
    return json_reply({"CachesDeleted": None, "SpaceReclaimed": 0})


async def inspect_distribution(call: Call) -> web.StreamResponse:
    """GET /distribution/{name}/json: digest and platforms from the registry. `docker service create` pins with it."""
    found = await call.backend.images.distribution(call.path["name"], _auth(call))
    return json_reply(image_json.distribution(found))


async def search(call: Call) -> web.StreamResponse:
    """GET /images/search."""
    raise Unimplemented("Shoal does not search registries")


async def refuse(call: Call) -> web.StreamResponse:
    """Refuse what Shoal does not do with images: build, push, save."""
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
