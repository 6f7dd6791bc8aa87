"""What the calls about images do and refuse. tests/interop shows it with real registries and archives."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from shoal.engine.backend import Backend
from shoal.engine.images import QUEUED_LINES
from shoal.errors import InvalidArgument, NotFound
from shoal.runtime.image_types import Progress, RegistryAuth
from shoal.runtime.types import Image
from tests.unit.engine.fakes import client
from tests.unit.engine.host_fakes import IMAGE_ID, FakeImages, host, image, served

ARM = json.dumps({"os": "linux", "architecture": "arm64"})
AMD = json.dumps({"os": "linux", "architecture": "amd64"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/images/create?fromImage=x&platform=linux/arm64"),
        ("POST", "/images/create?fromImage=x&platform=windows/amd64"),
        ("POST", "/images/create?fromSrc=-&platform=linux/arm/v7"),
        ("POST", f"/images/load?platform={ARM}"),
        ("GET", f"/images/x/json?platform={ARM}"),
        ("GET", f"/images/x/history?platform={ARM}"),
        ("DELETE", f"/images/x?platforms={AMD}&platforms={ARM}"),
    ],
)
async def test_another_platform_is_refused(method: str, path: str) -> None:
    async with client() as http:
        answer = await http.request(method, path)
        assert answer.status == 501
        assert "it takes those for linux/amd64" in (await answer.json())["message"]


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("foo", '"foo": unknown operating system or architecture: invalid argument'),
        ("linux/*", '"linux/*": wildcards not yet supported: invalid argument'),
        ("linux/a/b/c", '"linux/a/b/c": cannot parse platform specifier: invalid argument'),
        ("linux/", '"" is an invalid component of "linux/"'),
    ],
)
async def test_what_is_no_platform_is_refused(platform: str, message: str) -> None:
    async with client() as http:
        answer = await http.post("/images/create", params={"fromImage": "x", "platform": platform})
        assert answer.status == 400
        assert message in (await answer.json())["message"]


@pytest.mark.parametrize("platform", ["linux/amd64", AMD, ""])
async def test_this_hosts_platform_passes(platform: str) -> None:
    async with client() as http:
        answer = await http.get("/images/x/json", params={"platform": platform})
        assert answer.status == 404  # there is no such image; the platform was ignored


async def test_build_cache_is_empty() -> None:
    async with client() as http:
        answer = await http.post("/build/prune")
        assert (answer.status, await answer.json()) == (200, {"CachesDeleted": None, "SpaceReclaimed": 0})


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def with_images(*rows: Image) -> tuple[Backend, FakeImages]:
    images = FakeImages(*(rows or (image("busybox:latest"),)))
    return host(images=images), images


async def test_list_is_newest_first() -> None:
    given, _ = with_images(image("old:1", id="sha256:1", created_at=1.0), image("new:1", id="sha256:2", created_at=2.0))
    async with client(given) as http:
        shown = await (await http.get("/images/json")).json()
        assert [row["RepoTags"] for row in shown] == [["new:1"], ["old:1"]]
        wanted = {"filters": json.dumps({"reference": {"old": True}})}
        shown = await (await http.get("/images/json", params=wanted)).json()
        assert [row["Id"] for row in shown] == ["sha256:1"]


async def test_inspect_and_history_find_by_name_and_id() -> None:
    given, _ = with_images()
    async with client(given) as http:
        for name in ("busybox", "busybox:latest", IMAGE_ID, IMAGE_ID[7:19]):
            assert (await (await http.get(f"/images/{name}/json")).json())["Id"] == IMAGE_ID
        assert await (await http.get("/images/busybox/history")).json() == []
        answer = await http.get("/images/host:5000/a/b/json")
        assert (answer.status, await answer.json()) == (404, {"message": "No such image: host:5000/a/b"})


@pytest.mark.parametrize(
    ("query", "reference"),
    [
        ("fromImage=busybox&tag=1.36", "busybox:1.36"),
        ("fromImage=busybox", "busybox"),
        ("fromImage=busybox:", "busybox"),
        (f"fromImage=busybox&tag=sha256:{'d' * 64}", f"busybox@sha256:{'d' * 64}"),
        ("fromImage=host:5000/a/b:2", "host:5000/a/b:2"),
    ],
)
async def test_pull_reads_the_reference(query: str, reference: str) -> None:
    given, images = with_images()
    async with client(given) as http:
        assert (await http.post(f"/images/create?{query}")).status == 200
        assert images.asked == [("pull", reference, None)]


async def test_pull_passes_credentials_and_takes_unreadable_ones_for_none() -> None:
    given, images = with_images()
    login = base64.urlsafe_b64encode(json.dumps({"username": "me", "password": "pw"}).encode()).decode()
    async with client(given) as http:
        for header, auth in ((login, RegistryAuth("me", "pw")), ("!!", None), ("", None)):
            await http.post("/images/create?fromImage=x", headers={"X-Registry-Auth": header})
            await http.get("/distribution/x/json", headers={"X-Registry-Auth": header})
            assert images.asked[-2:] == [("pull", "x", auth), ("distribution", "x", auth)]


async def test_progress_comes_as_it_happens(tmp_path: Path) -> None:
    given, images = with_images()
    images.progress = [Progress(status="Pulling fs layer", id="abc")]
    images.pause = asyncio.Event()
    async with client(given) as http, asyncio.timeout(60):
        answer = await http.post("/images/create?fromImage=x")
        assert answer.headers["Content-Type"] == "application/json"
        line = json.loads(await answer.content.readline())
        assert line == {"status": "Pulling fs layer", "progressDetail": {}, "id": "abc"}
        images.pause.set()
        assert await answer.content.read() == b""


async def test_failure_before_the_first_line_is_an_answer_and_after_it_a_line() -> None:
    given, images = with_images()
    images.fails = NotFound("pull access denied")
    async with client(given) as http:
        answer = await http.post("/images/create?fromImage=x")
        assert (answer.status, await answer.json()) == (404, {"message": "pull access denied"})
        images.progress = [Progress(status="Pulling")]
        answer = await http.post("/images/create?fromImage=x")
        assert answer.status == 200
        assert lines(await answer.text()) == [
            {"status": "Pulling"},
            {"errorDetail": {"message": "pull access denied"}, "error": "pull access denied"},
        ]


async def test_pull_is_given_up_when_its_client_goes_away(tmp_path: Path) -> None:
    given, images = with_images()
    images.progress, images.pause = [Progress(status="Pulling")], asyncio.Event()
    async with served(given, tmp_path) as connect, asyncio.timeout(60):
        wire = await connect()
        wire.send("POST", "/images/create?fromImage=x")
        await wire.reader.readuntil(b"Pulling")
        await wire.close()
        await images.cancelled.wait()


async def test_slow_client_loses_bars_and_no_words() -> None:
    given, images = with_images()
    bars = [Progress(status="Downloading", id="a", current=number, total=9000) for number in range(5000)]
    images.progress = [*bars, Progress(status="Download complete", id="a")]
    async with client(given) as http:
        shown = lines(await (await http.post("/images/create?fromImage=x")).text())
        assert len(shown) == QUEUED_LINES + 1
        assert shown[-1]["status"] == "Download complete"


async def test_import_reads_the_body_and_tells_the_id() -> None:
    given, images = with_images()
    query = "fromSrc=-&repo=app&tag=1&message=hi&changes=CMD+sh&changes=USER+x"
    async with client(given) as http:
        answer = await http.post(f"/images/create?{query}", data=b"tar" * 100_000)
        assert lines(await answer.text()) == [{"status": IMAGE_ID}]
        assert images.asked == [("import", "app", "1", ["CMD sh", "USER x"], "hi")]
        assert images.body == b"tar" * 100_000
        assert (await http.post("/images/create?fromSrc=http://x/y.tar")).status == 501
        assert (await http.post("/images/create")).status == 400
        answer = await http.post("/images/create?fromImage=scratch")
        assert (answer.status, await answer.json()) == (403, {"message": "'scratch' is a reserved name"})


async def test_load_tells_what_was_loaded_and_its_failures_inside() -> None:
    given, images = with_images()
    images.progress = [Progress(stream="Loaded image: a:1\n")]
    async with client(given) as http:
        for query in ("", "?quiet=1"):
            answer = await http.post(f"/images/load{query}", data=b"tar")
            assert lines(await answer.text()) == [{"stream": "Loaded image: a:1\n"}]
        images.progress, images.fails = [], InvalidArgument("not an archive")
        answer = await http.post("/images/load", data=b"junk")
        assert (answer.status, lines(await answer.text())) == (
            200,
            [{"errorDetail": {"message": "not an archive"}, "error": "not an archive"}],
        )


async def test_tag_and_remove() -> None:
    given, images = with_images()
    async with client(given) as http:
        assert (await http.post("/images/busybox/tag?repo=host:5000/b&tag=2")).status == 201
        assert (await http.post("/images/no/tag?repo=b")).status == 404
        assert (await http.post("/images/busybox/tag?repo=sha256")).status == 400
        answer = await http.delete("/images/busybox?force=1&noprune=1")
        assert await answer.json() == [{"Untagged": "busybox"}, {"Deleted": IMAGE_ID}]
        answer = await http.delete("/images/%20")
        assert (answer.status, await answer.json()) == (400, {"message": "image name cannot be blank"})
        assert images.asked == [("tag", IMAGE_ID, "host:5000/b", "2"), ("remove", "busybox", True, False)]


async def test_prune_passes_its_filters_on() -> None:
    given, _ = with_images(
        image("a:1", id="sha256:1"), image(id="sha256:2", labels={"keep": "1"}), image(id="sha256:3", created_at=9e9)
    )

    async def pruned(**filters: Any) -> list[str]:
        answer = await http.post("/images/prune", params={"filters": json.dumps(filters)})
        shown = await answer.json()
        assert shown["SpaceReclaimed"] == 1000 * len(shown["ImagesDeleted"] or [])
        return [row["Deleted"][7:] for row in shown["ImagesDeleted"] or []]

    async with client(given) as http:
        assert await pruned() == ["2", "3"]
        assert await pruned(dangling=["false"]) == ["1", "2", "3"]
        assert await pruned(**{"label!": ["keep"]}) == ["3"]
        assert await pruned(until=["1h"]) == ["2"]
        assert await pruned(label=["nothing"]) == []


async def test_what_shoal_does_not_do_with_images_is_refused() -> None:
    async with client() as http:
        for method, path in (
            ("POST", "/build"),
            ("POST", "/images/x/push"),
            ("GET", "/images/x/get"),
            ("GET", "/images/search"),
        ):
            assert (await http.request(method, path)).status == 501
