"""The attributes of a container's event."""

from pathlib import Path

from shoal.runtime.types import Container, ContainerConfig, Phase
from tests.unit.runtime.part_fakes import ID, tools


async def test_an_event_has_labels_image_and_name(tmp_path: Path) -> None:
    made = Container(ID, ContainerConfig("web", "busybox", labels={"k": "v"}), "sha256:1", Phase.CREATED, 0.0)
    async with tools(tmp_path) as given:
        given.tell(made, "die", exitCode="3")
        (event,) = given.events.since(0)
    assert (event.type, event.action, event.id) == ("container", "die", ID)
    assert event.attributes == {"k": "v", "image": "busybox", "name": "web", "exitCode": "3"}
