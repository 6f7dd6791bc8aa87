import pytest

from shoal.engine import container_json
from shoal.network.types import Endpoint, Sandbox
from shoal.runtime.types import Health, Mount, Phase
from tests.unit.engine.host_fakes import IMAGE_ID, container, image


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "0001-01-01T00:00:00Z"),
        (10, "1970-01-01T00:00:10Z"),
        (1700000000.25, "2023-11-14T22:13:20.25Z"),
        (100.000001, "1970-01-01T00:01:40.000001Z"),
    ],
)
def test_instants_read_as_gos(at: float, text: str) -> None:
    assert container_json.instant(at) == text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (container(started_at=0.1), "Up About a minute"),
        (container(started_at=1.0, health=Health.STARTING), "Up 59 seconds (health: starting)"),
        (container(started_at=1.0, health=Health.UNHEALTHY), "Up 59 seconds (unhealthy)"),
        (container(phase=Phase.EXITED, exit_code=1, finished_at=50), "Exited (1) 10 seconds ago"),
        (container(phase=Phase.CREATED), "Created"),
        (container(phase=Phase.REMOVING), "Removal In Progress"),
        (container(phase=Phase.DEAD), "Dead"),
    ],
)
def test_status_is_a_sentence(row: container, text: str) -> None:  # type: ignore[valid-type]
    assert container_json.status_text(row, 60.2) == text


def test_row_has_dockers_shape() -> None:
    endpoint = Endpoint("bridge", "nid", "eid", "172.18.0.2", 16, "172.18.0.1", "02:42:ac:12:00:02")
    row = container(
        id="e" * 64,
        path="sh",
        args=("-c", "echo a b"),
        sandbox=Sandbox("/ns", (endpoint,)),
        labels={"own": "1"},
        mounts=(Mount("volume", "/data", "vol", read_only=True), Mount("bind", "/b", "/src"), Mount("tmpfs", "/t")),
        mount_sources={"/data": "/volumes/vol/_data"},
    )
    assert container_json.row(row, 1002.0, image("busybox", labels={"own": "0", "base": "2"})) == {
        "Id": "e" * 64,
        "Names": ["/web.1"],
        "Image": "busybox:latest",
        "ImageID": IMAGE_ID,
        "Command": "sh -c 'echo a b'",
        "Created": 1000,
        "Ports": [],
        "Labels": {"own": "1", "base": "2"},
        "State": "running",
        "Status": "Up 1 second",
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {
            "Networks": {
                "bridge": {
                    "IPAMConfig": None,
                    "Links": None,
                    "Aliases": None,
                    "MacAddress": "02:42:ac:12:00:02",
                    "DriverOpts": None,
                    "GwPriority": 0,
                    "NetworkID": "nid",
                    "EndpointID": "eid",
                    "Gateway": "172.18.0.1",
                    "IPAddress": "172.18.0.2",
                    "IPPrefixLen": 16,
                    "IPv6Gateway": "",
                    "GlobalIPv6Address": "",
                    "GlobalIPv6PrefixLen": 0,
                    "DNSNames": None,
                }
            }
        },
        "Mounts": [
            {
                "Type": "volume",
                "Name": "vol",
                "Source": "/volumes/vol/_data",
                "Destination": "/data",
                "Driver": "local",
                "Mode": "z",
                "RW": False,
                "Propagation": "",
            },
            {"Type": "bind", "Source": "/src", "Destination": "/b", "Mode": "", "RW": True, "Propagation": "rprivate"},
            {"Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": True, "Propagation": ""},
        ],
    }


def test_name_that_means_another_image_gives_way_to_the_id() -> None:
    assert container_json.row(container(), 0.0, None, renamed=True)["Image"] == IMAGE_ID


def test_both_addresses_of_an_endpoint_are_shown_in_their_places() -> None:
    both = Endpoint("both", "n1", "e1", "10.0.1.5", 24, address6="fd00::5", prefix_length6=64)
    six = Endpoint("six", "n2", "e2", "fd01::5", 64)
    shown = container_json.networks(container(sandbox=Sandbox("/n", (both, six))))
    assert [
        (one["IPAddress"], one["IPPrefixLen"], one["GlobalIPv6Address"], one["GlobalIPv6PrefixLen"])
        for one in (shown["both"], shown["six"])
    ] == [("10.0.1.5", 24, "fd00::5", 64), ("", 0, "fd01::5", 64)]
