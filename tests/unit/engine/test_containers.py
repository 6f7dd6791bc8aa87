import json
import time
from typing import Any

import pytest

from shoal.runtime.types import Phase
from tests.unit.engine.fakes import client
from tests.unit.engine.host_fakes import IMAGE_ID, FakeImages, container, host, image


def filters(**values: Any) -> dict[str, str]:
    return {"filters": json.dumps({key: [value] for key, value in values.items()})}


async def test_list_is_newest_first_and_limited() -> None:
    rows = [container(f"c{number}", created_at=float(number)) for number in range(4)]
    rows.append(container("ended", Phase.EXITED, created_at=9.0))
    async with client(host(*rows)) as api:
        assert [row["Names"] for row in await (await api.get("/containers/json")).json()] == [
            ["/c3"],
            ["/c2"],
            ["/c1"],
            ["/c0"],
        ]
        limited = await (await api.get("/containers/json?limit=2")).json()
        assert [row["Names"][0] for row in limited] == ["/ended", "/c3"]
        everything = await (await api.get("/v1.24/containers/json?all=1&size=1")).json()
        assert len(everything) == 5
        assert everything[0]["SizeRootFs"] == 1000


async def test_image_is_shown_by_id_when_its_name_moved_on() -> None:
    moved = host(container(), images=FakeImages(image("other:1"), image("busybox:latest", id="sha256:" + "c" * 64)))
    async with client(moved) as api:
        (row,) = await (await api.get("/containers/json")).json()
        assert (row["Image"], row["ImageID"]) == (IMAGE_ID, IMAGE_ID)


async def test_unknown_filters_and_limits_are_refused() -> None:
    async with client(host()) as api:
        answer = await api.get("/containers/json", params=filters(colour="red"))
        assert (answer.status, await answer.json()) == (400, {"message": "invalid filter 'colour'"})
        answer = await api.get("/containers/json?limit=x")
        assert (answer.status, await answer.json()) == (
            400,
            {"message": 'strconv.Atoi: parsing "x": invalid syntax'},
        )


async def test_inspect_shows_one_by_any_name() -> None:
    given = host(container())
    exec_id = given.execs.create("web.1", Any)  # type: ignore[arg-type]
    async with client(given) as api:
        row = given.containers.get("web.1")
        for ref in (row.id, row.id[:12], "web.1"):
            shown = await (await api.get(f"/containers/{ref}/json?size=1")).json()
            assert shown["Id"] == row.id
            assert shown["ExecIDs"] == [exec_id]
            assert shown["SizeRootFs"] == 1000
        answer = await api.get("/containers/nobody/json")
        assert (answer.status, await answer.json()) == (404, {"message": "No such container: nobody"})


async def test_top_passes_ps_arguments_and_keeps_the_pid_column() -> None:
    given = host(container())
    async with client(given) as api:
        answer = await (await api.get("/containers/web.1/top")).json()
        assert answer == {"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "42", "sleep 1000"]]}
        await api.get("/containers/web.1/top", params={"ps_args": "aux -o pid=PID"})
        assert given.containers.asked == ["-ef", "aux -o pid=PID"]  # type: ignore[attr-defined]
        answer = await api.get("/containers/web.1/top", params={"ps_args": "-o user=PID"})
        assert (answer.status, await answer.json()) == (500, {"message": 'specifying "user=PID" is not allowed'})


async def test_kill_waits_for_the_end_and_other_signals_do_not() -> None:
    given = host(container())
    async with client(given) as api:
        assert (await api.post("/containers/web.1/kill?signal=HUP")).status == 204
        assert given.containers.get("web.1").phase is Phase.RUNNING
        assert (await api.post("/containers/web.1/kill")).status == 204
        assert given.containers.get("web.1").phase is Phase.EXITED
        assert given.containers.asked == [("kill", "web.1", "HUP"), ("kill", "web.1", "KILL")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/containers/no/kill", 404, "cannot kill container: no: No such container: no"),
        ("/containers/web.1/kill?signal=NOPE", 400, "cannot kill container: web.1: invalid signal: NOPE"),
        ("/containers/old/kill", 409, "cannot kill container: old: container {} is not running"),
    ],
)
async def test_kill_says_what_it_could_not_kill(path: str, status: int, message: str) -> None:
    ended = container("old", Phase.EXITED)
    async with client(host(container(), ended)) as api:
        answer = await api.post(path)
        assert (answer.status, await answer.json()) == (status, {"message": message.format(ended.id)})


async def test_stop_passes_the_time_on() -> None:
    given = host(container(), container("old", Phase.EXITED))
    async with client(given) as api:
        for query in ("", "?t=0", "?t=-1", f"?t={10**18}"):
            assert (await api.post(f"/containers/web.1/stop{query}")).status == 204
        assert [asked[2] for asked in given.containers.asked] == [None, 0, -1, 10**9]  # type: ignore[attr-defined]
        assert (await api.post("/containers/old/stop")).status == 304
        assert (await api.post("/containers/no/stop")).status == 404
        assert (await api.post("/containers/web.1/stop?t=soon")).status == 400


async def test_stop_by_another_signal_kills_when_the_time_is_over() -> None:
    given = host(container())
    async with client(given) as api:
        # Before 1.42 there was no such parameter.
        assert (await api.post("/v1.41/containers/web.1/stop?signal=USR1")).status == 204
        assert (await api.post("/containers/web.1/stop?signal=USR1&t=0")).status == 204
        assert given.containers.asked == [  # type: ignore[attr-defined]
            ("stop", "web.1", None),
            ("kill", "web.1", "USR1"),
            ("kill", "web.1", "KILL"),
        ]


async def test_stop_by_another_signal_is_enough_when_it_ends_by_it() -> None:
    given = host(container())
    given.containers.dies_of = frozenset({"USR1"})  # type: ignore[attr-defined]
    async with client(given) as api:
        assert (await api.post("/containers/web.1/stop?signal=USR1")).status == 204
        assert given.containers.asked == [("kill", "web.1", "USR1")]  # type: ignore[attr-defined]


async def test_remove_passes_its_flags_on() -> None:
    given = host(container(), container("old", Phase.EXITED))
    async with client(given) as api:
        answer = await api.delete("/containers/web.1")
        assert answer.status == 409
        assert "container is running" in (await answer.json())["message"]
        assert (await api.delete("/containers/web.1?force=1&v=1")).status == 204
        assert (await api.delete("/containers/old?link=1")).status == 400
        assert (await api.delete("/containers/old")).status == 204
        assert (await api.delete("/containers/old?force=1")).status == 404
        assert given.containers.asked == [("remove", "web.1", True, True), ("remove", "old", False, False)]  # type: ignore[attr-defined]


async def test_prune_leaves_what_runs_and_what_tasks_own() -> None:
    task = {"com.docker.swarm.task.id": "t1"}
    rows = [
        container(),
        container("task", Phase.EXITED, labels=task),
        container("kept", Phase.EXITED, labels={"keep": "yes"}),
        container("young", Phase.EXITED, created_at=time.time()),
        container("old", Phase.EXITED),
    ]
    async with client(host(*rows)) as api:
        wanted = {"filters": json.dumps({"label!": {"keep": True}, "until": {"1h": True}})}
        answer = await (await api.post("/containers/prune", params=wanted)).json()
        assert answer == {"ContainersDeleted": [rows[-1].id], "SpaceReclaimed": 0}
        answer = await (await api.post("/containers/prune", params=filters(label="nothing"))).json()
        assert answer == {"ContainersDeleted": None, "SpaceReclaimed": 0}
        assert (await api.post("/containers/prune", params=filters(until="soon"))).status == 400


async def test_what_only_docker_run_needs_is_refused() -> None:
    async with client(host(container())) as api:
        for path in ("/containers/create", "/containers/web.1/start", "/containers/web.1/restart", "/commit"):
            answer = await api.post(path)
            assert answer.status == 501
            assert "docker service create" in (await answer.json())["message"]
