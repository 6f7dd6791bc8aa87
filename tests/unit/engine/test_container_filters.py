from typing import Any

import pytest

from shoal.engine.container_filters import ImageFinder, choose
from shoal.engine.requests import Filters
from shoal.errors import InvalidArgument, NotFound
from shoal.network.types import Endpoint, Sandbox
from shoal.runtime.types import Container, Health, Mount, Phase
from tests.unit.engine.host_fakes import FakeContainers, FakeImages, container, image

BRIDGE = Sandbox("/n", (Endpoint(network_name="bridge", network_id="ab" * 32),))

# The newest first.
ROWS = [
    container("new", id="1" + "0" * 63, created_at=4.0, sandbox=BRIDGE),
    container(
        "web.1",
        id="12" + "0" * 62,
        created_at=3.0,
        health=Health.HEALTHY,
        labels={"com.docker.swarm.task.id": "t1", "tier": "front"},
        mounts=(Mount("volume", "/data", "vol"), Mount("bind", "/etc/x", "/srv/x")),
        network="host",
    ),
    container("old", Phase.EXITED, id="2" + "0" * 63, created_at=2.0, exit_code=3, image_id="sha256:" + "c" * 64),
    container("made", Phase.CREATED, id="3" + "0" * 63, created_at=1.0),
]


def names(stopped: bool = True, **filters: Any) -> list[str]:
    rows = FakeContainers(*ROWS)
    images = FakeImages(image("busybox:latest", labels={"vendor": "x"}))
    given = Filters(
        {key.replace("_", "-"): tuple([value] if isinstance(value, str) else value) for key, value in filters.items()}
    )
    found: list[Container] = choose(ROWS, given, ImageFinder(images.get), rows.get, stopped=stopped)
    return [row.config.name for row in found]


def test_only_what_runs_is_shown_unless_more_is_asked_for() -> None:
    assert names(stopped=False) == ["new", "web.1"]
    assert names() == ["new", "web.1", "old", "made"]
    assert names(stopped=False, status="exited") == ["old"]
    assert names(stopped=False, exited="3") == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"id": "12"}, ["web.1"]),
        ({"id": "1"}, []),  # two have it
        ({"id": ["2", "3"]}, ["old", "made"]),
        ({"name": "^w.b"}, ["web.1"]),
        ({"name": "/old"}, ["old"]),
        ({"name": "["}, []),
        ({"label": "tier"}, ["web.1"]),
        ({"label": "tier=back"}, []),
        ({"label": "vendor=x"}, ["new", "web.1", "made"]),  # the image's
        ({"status": ["created", "exited"]}, ["old", "made"]),
        ({"status": "paused"}, []),
        ({"health": "healthy"}, ["web.1"]),
        ({"exited": "3"}, ["old"]),
        ({"exited": "0"}, []),
        ({"is_task": "true"}, ["web.1"]),
        ({"is_task": "0"}, ["new", "old", "made"]),
        ({"network": "host"}, ["web.1"]),
        ({"network": "abab"}, ["new"]),
        ({"volume": "vol"}, ["web.1"]),
        ({"volume": "/data"}, ["web.1"]),
        ({"volume": "/srv/x"}, ["web.1"]),
        ({"ancestor": "busybox"}, ["new", "web.1", "made"]),
        ({"ancestor": "nowhere"}, []),
        ({"before": "web.1"}, ["old", "made"]),
        ({"since": "old"}, ["new", "web.1"]),
        ({"before": "new", "since": "made"}, ["web.1", "old"]),
        ({"publish": "80"}, []),
        ({"expose": "1-9/udp"}, []),
        ({"isolation": "default"}, ["new", "web.1", "old", "made"]),
        ({"id": "2", "name": "web"}, []),
    ],
)
def test_filters_choose(filters: dict[str, Any], found: list[str]) -> None:
    assert names(**filters) == found


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            {"status": "gone"},
            "invalid filter 'status=gone': invalid value for state (gone): must be one of created, running, paused, "
            "restarting, removing, exited, dead",
        ),
        (
            {"health": "ill"},
            "invalid filter 'health=ill': invalid value for health (ill): must be one of none, starting, healthy, "
            "unhealthy",
        ),
        ({"exited": "x"}, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ({"publish": "1:2"}, "filter for 'publish' should not contain ':': 1:2"),
        ({"is_task": "maybe"}, "invalid filter 'is-task=[maybe]'"),
    ],
)
def test_what_no_container_can_have_is_refused(filters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        names(**filters)
    assert str(refused.value) == message


def test_unknown_bound_is_not_found() -> None:
    with pytest.raises(NotFound, match="No such container: nobody"):
        names(before="nobody")


def test_image_is_looked_up_once() -> None:
    asked = []

    def get(ref: str) -> Any:
        asked.append(ref)
        raise NotFound(ref)

    finder = ImageFinder(get)
    assert finder.find("a") is finder.find("a") is None
    assert asked == ["a"]
