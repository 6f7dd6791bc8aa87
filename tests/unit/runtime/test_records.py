"""Containers on disk come back as they were."""

import dataclasses
import json
from pathlib import Path

import pytest

from shoal.errors import DamagedState
from shoal.runtime.records import Running, decode, encode, read_config, read_state, write_config, write_state
from shoal.runtime.types import (
    Container,
    ContainerConfig,
    Endpoint,
    Health,
    HealthConfig,
    Mount,
    Phase,
    Probe,
    Ulimit,
)

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
    ),
    image_id="sha256:1",
    phase=Phase.CREATED,
    created_at=12.5,
    path="sh",
    args=("-c", "x"),
    mount_sources={"/d": "/v"},
    endpoint=Endpoint(netns="/n", address="10.0.0.2"),
    health_config=HealthConfig(("CMD", "x")),
)
RAN = dataclasses.replace(
    WHOLE,
    phase=Phase.RUNNING,
    pid=7,
    started_at=13.0,
    health=Health.HEALTHY,
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
