import json
from pathlib import Path
from typing import Any

import pytest

from shoal.runtime.types import Mount, Volume
from tests.unit.engine.fakes import client
from tests.unit.engine.host_fakes import FakeVolumes, container, host


def volume(name: str, mountpoint: str = "/nowhere", **more: Any) -> Volume:
    return Volume(name, mountpoint, 1_700_000_000.75, **more)


def with_volumes(*rows: Volume) -> tuple[Any, FakeVolumes]:
    volumes = FakeVolumes(*rows)
    return host(container(mounts=(Mount("volume", "/data", "used"),)), volumes=volumes), volumes


async def test_volume_has_dockers_shape() -> None:
    given, _ = with_volumes(volume("data", "/v/data/_data", labels={"a": "1"}))
    shown = {
        "CreatedAt": "2023-11-14T22:13:20Z",
        "Driver": "local",
        "Labels": {"a": "1"},
        "Mountpoint": "/v/data/_data",
        "Name": "data",
        "Options": None,
        "Scope": "local",
    }
    async with client(given) as api:
        assert await (await api.get("/volumes/data")).json() == shown
        assert await (await api.get("/volumes")).json() == {"Volumes": [shown], "Warnings": None}
        answer = await api.get("/volumes/no")
        assert (answer.status, await answer.json()) == (404, {"message": "get no: no such volume"})


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["used", "front", "data"]),
        ({"name": ["^d"]}, ["data"]),
        ({"driver": ["local"]}, ["used", "front", "data"]),
        ({"driver": ["nfs"]}, []),
        ({"label": ["tier=front"]}, ["front"]),
        ({"dangling": ["true"]}, ["front", "data"]),
        ({"dangling": ["false"]}, ["used"]),
    ],
)
async def test_filters_choose(filters: dict[str, Any], names: list[str]) -> None:
    given, _ = with_volumes(volume("used"), volume("front", labels={"tier": "front"}), volume("data"))
    async with client(given) as api:
        shown = await (await api.get("/volumes", params={"filters": json.dumps(filters)})).json()
        assert [row["Name"] for row in shown["Volumes"]] == names


async def test_create_is_answered_with_the_volume() -> None:
    given, volumes = with_volumes()
    async with client(given) as api:
        body = {"Name": "new", "DriverOpts": {"type": "tmpfs"}, "Labels": {"a": "1"}}
        answer = await api.post("/volumes/create", json=body)
        assert answer.status == 201
        assert volumes.get("new").options == {"type": "tmpfs"}
        assert (await answer.json())["Labels"] == {"a": "1"}
        answer = await api.post("/volumes/create", json={})
        assert (await answer.json())["Name"] == "f" * 64
        assert (await api.post("/volumes/create", json={"Name": "x", "Driver": "nfs"})).status == 404


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"Name": 5}, 400, "json: cannot unmarshal number into Go struct field CreateRequest.Name of type string"),
        ({"Labels": ["a"]}, 400, "cannot unmarshal array into Go struct field CreateRequest.Labels"),
        ({"DriverOpts": {"a": 1}}, 400, "cannot unmarshal number"),
        ({"ClusterVolumeSpec": {}}, 501, "cluster volumes"),
    ],
)
async def test_create_refuses_other_types(body: Any, status: int, words: str) -> None:
    async with client(host()) as api:
        answer = await api.post("/volumes/create", json=body)
        assert answer.status == status
        assert words in (await answer.json())["message"]


async def test_remove_with_force_takes_what_is_not_there() -> None:
    given, volumes = with_volumes(volume("data"), volume("used"))
    volumes.held = {"used"}
    async with client(given) as api:
        assert (await api.delete("/volumes/data")).status == 204
        assert (await api.delete("/volumes/data")).status == 404
        assert (await api.delete("/volumes/data?force=1")).status == 204
        assert (await api.delete("/volumes/used?force=1")).status == 409
        answer = await api.put("/volumes/data?version=1", json={})
        assert answer.status == 503


async def test_prune_takes_anonymous_volumes_and_with_all_the_others(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    given, volumes = with_volumes(
        volume("used", anonymous=True),
        volume("held", anonymous=True),
        volume("anonymous", str(tmp_path), anonymous=True),
        volume("named"),
        volume("kept", labels={"keep": ""}),
    )
    volumes.held = {"held"}
    async with client(given) as api:
        assert await (await api.post("/volumes/prune")).json() == {"VolumesDeleted": ["anonymous"], "SpaceReclaimed": 5}
        wanted = {"filters": json.dumps({"all": ["true"], "label!": ["keep"]})}
        assert (await (await api.post("/volumes/prune", params=wanted)).json())["VolumesDeleted"] == ["named"]
        assert (await (await api.post("/v1.41/volumes/prune")).json())["VolumesDeleted"] == ["kept"]
        assert (await (await api.post("/volumes/prune")).json())["VolumesDeleted"] == []


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"all": ["x"]}, "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax"),
        ({"all": ["1", "0"]}, "invalid filter 'all=[1 0]': only one value is expected"),
        ({"until": ["1h"]}, "invalid filter 'until'"),
    ],
)
async def test_prune_refuses_other_filters(filters: Any, message: str) -> None:
    async with client(host()) as api:
        answer = await api.post("/volumes/prune", params={"filters": json.dumps(filters)})
        assert (answer.status, await answer.json()) == (400, {"message": message})
