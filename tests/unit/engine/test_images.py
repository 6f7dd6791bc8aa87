"""What the calls about images refuse rather than ignore; what they do is shown with a real daemon in tests/interop."""

import json

import pytest

from tests.unit.engine.fakes import client

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


@pytest.mark.parametrize("platform", ["linux/amd64", AMD, ""])
async def test_this_hosts_platform_passes(platform: str) -> None:
    async with client() as http:
        answer = await http.get("/images/x/json", params={"platform": platform})
        assert answer.status == 404  # there is no such image; the platform was no matter


async def test_build_cache_is_empty() -> None:
    async with client() as http:
        answer = await http.post("/build/prune")
        assert (answer.status, await answer.json()) == (200, {"CachesDeleted": None, "SpaceReclaimed": 0})
