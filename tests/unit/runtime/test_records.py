"""Containers on disk come back as they were."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from shoal.errors import DamagedState
from shoal.network.types import Endpoint, HostPort, Sandbox
from shoal.runtime.records import Running, decode, encode, read_config, read_state, write_config, write_state
from shoal.runtime.types import Container, ContainerConfig, Health, HealthConfig, Mount, Phase, Probe, Ulimit

WHOLE = Container(
    id="ab",
    config=ContainerConfig(
        name="web",
        image="busybox",
        env=("A=1",),
        labels={"k": "v"},
        mounts=(Mount("volume", "/d", "v", volume_options={"o": "x"}),),
        health=HealthConfig(("CMD", "x"), interval=1.5),
        hosts=(("10.0.0.1", ("a", "b")),),
        ulimits=(Ulimit("nofile", 1, 2),),
        memory_swap_bytes=None,
        init=True,
        stop_timeout=7,
        ports=(HostPort("tcp", 80, 8080), HostPort("udp", 53)),
    ),
    image_id="sha256:1",
    phase=Phase.CREATED,
    created_at=12.5,
    path="sh",
    args=("-c", "x"),
    mount_sources={"/d": "/v"},
    sandbox=Sandbox("/n", (Endpoint(endpoint_id="e1", address="10.0.0.2"), Endpoint(endpoint_id="e2"))),
    health_config=HealthConfig(("CMD", "x")),
)
RAN = dataclasses.replace(
    WHOLE,
    phase=Phase.RUNNING,
    pid=7,
    started_at=13.0,
    health=Health.HEALTHY,
    sandbox=dataclasses.replace(WHOLE.sandbox, ports=(HostPort("tcp", 80, 8080), HostPort("udp", 53, 32768))),
    probes=(Probe(1.0, 2.0, 0, "ok"),),
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "ab"
    folder.mkdir()
    write_config(folder, WHOLE)
    assert read_config(folder) == WHOLE
    write_state(folder, RAN, Running(1, 2, 3))
    assert read_state(folder, WHOLE) == (RAN, Running(1, 2, 3))
    write_state(folder, RAN)
    assert read_state(folder, WHOLE) == (RAN, None)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "state.json"]


def test_a_folder_without_a_record_is_no_container(tmp_path: Path) -> None:
    assert read_config(tmp_path) is None
    assert read_state(tmp_path, WHOLE) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 5}', '{"id": "other", "config": {}}'])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DamagedState, match=r"config\.json is damaged"):
        read_config(tmp_path)
    assert (tmp_path / "config.json").read_text() == text


def test_a_record_is_not_another_containers(tmp_path: Path) -> None:
    write_config(tmp_path, WHOLE)
    with pytest.raises(DamagedState, match="it is the config of 'ab'"):
        read_config(tmp_path)


def test_a_newer_record_is_read_by_what_is_known() -> None:
    data = json.loads(json.dumps(encode(WHOLE))) | {"new": 1}
    assert decode(Container, data) == WHOLE


def test_a_state_that_a_loss_of_power_emptied_was_never_written(tmp_path: Path) -> None:
    write_state(tmp_path, WHOLE)
    (tmp_path / "state.json").write_bytes(b"")
    assert read_state(tmp_path, WHOLE) is None
    (tmp_path / "config.json").write_bytes(b"")
    with pytest.raises(DamagedState, match=r"config\.json"):
        read_config(tmp_path)


FIRST_FORMAT = Path(__file__).parent / "records_1"
ONE_ENDPOINT = Sandbox(
    "/run/shoal/netns/3f1c0d5e7a92",
    (
        Endpoint(
            network_name="bridge",
            network_id="9e" * 32,
            endpoint_id="c4" * 32,
            address="172.18.0.2",
            prefix_length=16,
            gateway="172.18.0.1",
            mac="02:42:ac:12:00:02",
            host_interface="ve3f1c0d5e7a92",
        ),
    ),
)


@pytest.fixture
def first_format(tmp_path: Path) -> Path:
    """Return a container's folder as Shoal 0.1 wrote it, from a data file."""
    id = "3f1c0d5e7a92" + "4b" * 26  # noqa: A001 - a container's id
    return Path(shutil.copytree(FIRST_FORMAT, tmp_path / id))


def test_a_record_of_the_first_format_has_its_endpoint(first_format: Path) -> None:
    made = read_config(first_format)
    assert made is not None
    assert made.sandbox == ONE_ENDPOINT
    assert (made.config.name, made.mounts) == ("web.1.q3v0v7f1m4wqh8e9k2r5t6y7u", (Mount("volume", "/d", "data"),))
    found = read_state(first_format, made)
    assert found is not None
    container, running = found
    assert (container.sandbox, container.pid, running) == (ONE_ENDPOINT, 4711, Running(4700, 123456, 123460))


def test_a_record_of_the_first_format_is_written_in_todays(first_format: Path) -> None:
    made = read_config(first_format)
    assert made is not None
    write_config(first_format, made)
    write_state(first_format, made)
    for name in ("config.json", "state.json"):
        data = json.loads((first_format / name).read_bytes())
        assert data["format"] == 2
        assert "endpoint" not in data
        assert data["sandbox"]["endpoints"][0]["address"] == "172.18.0.2"
    assert read_config(first_format) == made


def test_an_ended_container_of_the_first_format_has_no_endpoint(first_format: Path) -> None:
    state = json.loads((first_format / "state.json").read_bytes())
    state |= {"phase": "exited", "running": None, "endpoint": encode(Endpoint()) | {"netns": ""}}
    (first_format / "state.json").write_text(json.dumps(state))
    found = read_state(first_format, WHOLE)
    assert found is not None
    assert found[0].sandbox == Sandbox()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 3}, "its format 3 is not one that this program reads, which are 1 to 2"),
        ({"format": "x"}, "its format x is not one"),
        ({"endpoint": 7}, "its endpoint is not an object"),
        ({"endpoint": {"endpoint_id": "e", "address": 7}}, "7 is not of type str"),
    ],
)
def test_a_format_that_is_not_known_is_damage(first_format: Path, change: dict[str, object], why: str) -> None:
    for name in ("config.json", "state.json"):
        text = json.dumps(json.loads((first_format / name).read_bytes()) | change)
        (first_format / name).write_text(text)
        with pytest.raises(DamagedState, match=why) as caught:
            read_config(first_format) if name == "config.json" else read_state(first_format, WHOLE)
        assert caught.value.path == str(first_format / name)
        assert (first_format / name).read_text() == text
