from dataclasses import dataclass

import pytest

from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, PermissionDenied
from shoal.manager.allocator.allocator import Allocator
from shoal.manager.attachments import Attachments
from shoal.manager.orchestrator.reaper import Reaper
from shoal.store.changes import Object
from tests.unit.manager.allocator.objects import network, task
from tests.unit.manager.builders import NOW, decide, told
from tests.unit.manager.stores import MemoryStore


@dataclass
class Node:
    node_id: str = "n1"


class Call:
    """A stream with one request and its answer."""

    def __init__(self, request: object) -> None:
        self._request = request
        self.answers: list[object] = []

    async def recv_message(self) -> object:
        return self._request

    async def send_message(self, message: object) -> None:
        self.answers.append(message)


class Case:
    def __init__(self, *objects: Object) -> None:
        blue = network("blue")
        blue.spec.attachable = True
        self.store = MemoryStore([blue, network("red"), *objects])
        self.node = Node()
        self.server = Attachments(
            self.store,  # type: ignore[arg-type]
            caller=lambda: self.node,
            clock=lambda: NOW,
            new_id=lambda: "t1",
        )

    async def attach(self, target: str, *addresses: str) -> str:
        config = api.NetworkAttachmentConfig(target=target, addresses=addresses, aliases=["db"])
        call = Call(api.AttachNetworkRequest(config=config, container_id="c1"))
        await self.server.AttachNetwork(call)  # type: ignore[arg-type]
        (answer,) = call.answers
        assert isinstance(answer, api.AttachNetworkResponse)
        return answer.attachment_id

    async def detach(self, attachment_id: str) -> None:
        call = Call(api.DetachNetworkRequest(attachment_id=attachment_id))
        await self.server.DetachNetwork(call)  # type: ignore[arg-type]
        assert call.answers == [api.DetachNetworkResponse()]


async def test_a_container_is_attached_by_a_task_of_its_node() -> None:
    case = Case()
    assert await case.attach("blue", "10.0.0.9") == "t1"
    found = case.store.view().tasks.get("t1")
    assert found is not None
    assert (found.node_id, found.service_id, found.desired_state) == ("n1", "", api.RUNNING)
    assert (found.status.state, found.spec.attachment.container_id) == (api.NEW, "c1")
    assert list(found.spec.networks) == [
        api.NetworkAttachmentConfig(target="blue", addresses=["10.0.0.9"], aliases=["db"])
    ]


async def test_the_allocator_gives_the_address_that_was_asked_for() -> None:
    case = Case()
    await case.attach("blue", "10.0.0.9")
    plan = decide(Allocator(), [*case.store.view().networks.all(), *case.store.view().tasks.all()])
    given = next(change.obj for change in plan.changes if getattr(change, "obj", None) and change.obj.id == "t1")  # type: ignore[union-attr]
    assert isinstance(given, api.Task)
    assert list(given.networks[0].addresses) == ["10.0.0.9/24"]


async def test_only_attachable_networks_that_are_there() -> None:
    case = Case()
    with pytest.raises(NotFound, match=r"^network green not found$"):
        await case.attach("green")
    with pytest.raises(NotFound, match=r"^network BLUE not found$"):
        await case.attach("BLUE")
    with pytest.raises(PermissionDenied, match=r"^network red not manually attachable$"):
        await case.attach("red")


async def test_a_node_detaches_its_own() -> None:
    case = Case(task("web.1"))
    await case.attach("blue")
    with pytest.raises(InvalidArgument):
        await case.detach("")
    for unknown in ("t9", "web.1"):
        with pytest.raises(NotFound, match=f"^attachment {unknown} not found$"):
            await case.detach(unknown)
    case.node = Node("n2")
    with pytest.raises(PermissionDenied, match=r"^attachment t1 doesn't belong to this node$"):
        await case.detach("t1")
    case.node = Node("n1")
    await case.detach("t1")
    assert case.store.view().tasks.get("t1") is None


async def test_attachments_of_a_removed_node_go() -> None:
    case = Case()
    await case.attach("blue")
    (orphan,) = case.store.view().tasks.all()
    lost = api.Task()
    lost.CopyFrom(orphan)
    lost.status.state = api.ORPHANED
    assert told(decide(Reaper(), [lost])) == ["remove t1"]
