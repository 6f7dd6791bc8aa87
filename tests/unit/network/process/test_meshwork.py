"""The mesh as the network process keeps it, with a kernel that is played."""

import logging

import pytest

from shoal.errors import ShoalError
from shoal.network.directory import Directory
from shoal.network.mesh.rules import PublishedPort
from shoal.network.mesh.state import Mesh, Meshed
from shoal.network.process.meshwork import Meshwork
from shoal.network.wanted import Port, Service, Trouble, Wanted
from tests.unit.network.mesh.test_desired import INGRESS, task, wanted


class Kernel:
    """A kernel that has a mesh or none, with a foreign program on some ports."""

    tag = "t1"

    def __init__(self) -> None:
        self.has: Mesh | None = None
        self.removed = 0
        self.foreign: set[PublishedPort] = set()
        self.refusal = ""
        self.refused = ""

    async def mesh(self, mesh: Mesh) -> Meshed:
        if self.refusal:
            raise ShoalError(self.refusal)
        self.has = mesh
        return Meshed(self.foreign & mesh.published.keys(), self.refused)

    async def no_mesh(self) -> None:
        if self.refusal:
            raise ShoalError(self.refusal)
        self.has = None
        self.removed += 1


async def settle(mesh: Meshwork, state: Wanted) -> tuple[Trouble, ...]:
    await mesh.settle(state, Directory(), nodes=(), path_mtu=0)
    return mesh.troubles


async def test_it_is_made_and_taken_away_once() -> None:
    kernel = Kernel()
    mesh = Meshwork(kernel)
    assert await settle(mesh, wanted()) == ()
    assert kernel.removed == 1  # an earlier process may have left one
    assert await settle(mesh, wanted()) == ()
    await mesh.look_again(wanted())
    assert kernel.removed == 1
    await settle(mesh, wanted(task()))
    assert kernel.has is not None
    kernel.has = None  # somebody flushed it
    await mesh.look_again(wanted(task()))
    assert kernel.has is not None
    await settle(mesh, wanted())
    assert (kernel.has, kernel.removed) == (None, 2)


async def test_the_kernel_is_asked_only_where_the_mesh_changes_or_is_looked_at_again() -> None:
    """A container that comes on another network pays nothing for it."""
    kernel = Kernel()
    mesh = Meshwork(kernel)
    await settle(mesh, wanted(task()))
    kernel.has = None
    await settle(mesh, wanted(task()))
    assert kernel.has is None
    await settle(mesh, wanted(task(), task(6)))
    assert kernel.has is not None


async def test_a_port_of_another_program_is_said_of_its_tasks_until_it_is_free(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Known fault 27: on the task and in the log, once."""
    kernel = Kernel()
    kernel.foreign = {("tcp", 8080)}
    mesh, state = Meshwork(kernel), wanted(task())
    caplog.set_level(logging.INFO, logger="shoal")
    (trouble,) = await settle(mesh, state)
    assert trouble == Trouble(
        INGRESS.id, "e5", "port 8080/tcp is in use on this node, and not published there", bearable=True
    )
    await mesh.look_again(state)
    await settle(mesh, state)
    assert list(mesh.troubles) == [trouble]
    kernel.foreign = set()
    await mesh.look_again(state)
    assert not mesh.troubles
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", "port 8080/tcp is in use on this node, and not published there"),
        ("INFO", "port 8080/tcp is published on this node now"),
    ]


async def test_a_port_by_which_nodes_speak_is_said_too() -> None:
    mesh = Meshwork(Kernel())
    (trouble,) = await settle(mesh, wanted(task(service=Service("s", "web", ports=(Port("tcp", 80, 2377),)))))
    assert trouble.message == "port 2377/tcp is in use on this node, and not published there"


async def test_what_the_kernel_refuses_is_tried_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    kernel = Kernel()
    kernel.refusal = "this kernel has no VXLAN"
    mesh, state = Meshwork(kernel), wanted(task())
    words = (Trouble(INGRESS.id, "", "routing mesh: this kernel has no VXLAN"),)
    assert await settle(mesh, state) == words
    await mesh.look_again(state)
    assert list(mesh.troubles) == list(words)
    assert len(caplog.records) == 1
    kernel.refusal = ""
    await mesh.look_again(state)
    assert not mesh.troubles
    assert kernel.has is not None


async def test_an_ingress_that_cannot_be_carried_takes_the_mesh_away_and_is_said() -> None:
    kernel = Kernel()
    mesh = Meshwork(kernel)
    await settle(mesh, wanted(task()))
    (trouble,) = await settle(mesh, wanted(task(outside="")))
    assert "has no place on the bridge" in trouble.message
    assert not trouble.bearable
    assert kernel.has is None
    assert await settle(mesh, wanted()) == ()


async def test_what_others_tell_and_the_kernel_refuses_is_bearable() -> None:
    kernel = Kernel()
    kernel.refused = "1 entries of other nodes are refused: 00:00:00:00:00:00: Operation not supported"
    (trouble,) = await settle(Meshwork(kernel), wanted(task()))
    assert trouble.bearable
    assert "00:00:00:00:00:00" in trouble.message
