"""A pull belongs to the tasks that wait for it: one pull for all of them, and none when nobody waits."""

import asyncio
from collections.abc import Callable

import pytest

from shoal.agent.pulls import Pulls
from shoal.errors import NotFound, ShoalError
from shoal.runtime.image_types import Progress, RegistryAuth
from shoal.runtime.types import Image


class Registry:
    """A registry whose images arrive once `here` is set."""

    def __init__(self) -> None:
        self.here = asyncio.Event()
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.problem: Exception | None = None
        self.images: dict[str, Image] = {}

    def get(self, ref: str) -> Image:
        if ref not in self.images:
            raise NotFound(f"No such image: {ref}")
        return self.images[ref]

    async def pull(self, ref: str, auth: RegistryAuth | None, progress: Callable[[Progress], None] | None) -> Image:
        self.begun.append(ref)
        try:
            await self.here.wait()
        except asyncio.CancelledError:
            self.cancelled.append(ref)
            raise
        if self.problem:
            raise self.problem
        self.images[ref] = Image("sha256:" + "1" * 64, {}, (), 0, (ref,), (), 0.0)
        return self.images[ref]


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_pull_goes_on_for_the_task_that_still_waits_and_ends_with_the_last() -> None:
    registry = Registry()
    async with asyncio.TaskGroup() as group:
        pulls = Pulls(registry, group)
        one, two = (group.create_task(pulls.ensure("slow:1", "")) for _ in range(2))
        await turns()
        assert registry.begun == ["slow:1"]
        one.cancel()
        await turns()
        assert registry.cancelled == []
        two.cancel()
        await turns()
        assert registry.cancelled == ["slow:1"]
        registry.here.set()
        await pulls.ensure("slow:1", "")
        assert registry.begun == ["slow:1", "slow:1"]


async def test_a_task_that_comes_while_a_pull_is_given_up_begins_its_own() -> None:
    registry = Registry()
    async with asyncio.TaskGroup() as group:
        pulls = Pulls(registry, group)
        first = group.create_task(pulls.ensure("slow:1", ""))
        await turns()
        first.cancel()
        second = group.create_task(pulls.ensure("slow:1", ""))
        registry.here.set()
        await second
        assert registry.images


async def test_a_defect_in_a_pull_is_that_tasks_alone() -> None:
    registry = Registry()
    registry.problem = OverflowError("an image said so")
    registry.here.set()
    async with asyncio.TaskGroup() as group:
        pulls = Pulls(registry, group)
        with pytest.raises(ShoalError, match=r"No such image: bad:1 \(OverflowError: an image said so\)"):
            await pulls.ensure("bad:1", "")


async def test_an_image_that_is_here_is_used_when_the_registry_refuses() -> None:
    """Known fault 70. Where there is none, the registry's own answer is the task's error."""
    registry = Registry()
    registry.problem = ShoalError("pull access denied for own, repository does not exist or may require 'docker login'")
    registry.images["own:1"] = Image("sha256:" + "1" * 64, {}, (), 0, ("own:1",), ("own@sha256:1",), 0.0)
    registry.here.set()
    async with asyncio.TaskGroup() as group:
        pulls = Pulls(registry, group)
        await pulls.ensure("own:1", "")
        with pytest.raises(ShoalError, match=r"No such image: other:1 \(pull access denied for own"):
            await pulls.ensure("other:1", "")
    assert registry.begun == ["own:1", "other:1"]


async def test_what_is_never_to_be_pulled_is_here_or_the_task_fails() -> None:
    registry = Registry()
    async with asyncio.TaskGroup() as group:
        pulls = Pulls(registry, group)
        with pytest.raises(ShoalError) as raised:
            await pulls.ensure("own:1", "", "never")
        assert str(raised.value) == "No such image: own:1 (the service's label shoal.pull says never)"
        registry.images["own:1"] = Image("sha256:" + "1" * 64, {}, (), 0, ("own:1",), ("own@sha256:1",), 0.0)
        await pulls.ensure("own:1", "", "never")
        await pulls.ensure("own:1", "", "missing")
    assert registry.begun == []
