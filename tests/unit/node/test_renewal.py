"""When a node asks for another certificate, in virtual time."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from shoal.api import v1 as api
from shoal.ca.root import create_root
from shoal.errors import Unavailable
from shoal.node.renewal import Renewal
from tests.unit.ca.swarms import NOW, Swarm

pytestmark = pytest.mark.looptime

DAY = 86_400.0


class Asked:
    """A CA that answers with the role that a test sets, and records when it was asked."""

    def __init__(self, folder: Path, role: int = api.WORKER) -> None:
        self.swarm = Swarm(folder)
        self.root = self.swarm.root
        self.security = self.swarm.node("n1", role)
        self.role = role
        self.at: list[float] = []
        self.failing = False
        self.ahead = 0.0
        self.renewed = 0
        self.distrusted = 0
        self.renewal = Renewal(self.security, self.request, self.hear, self.distrust, rng=Random(1), clock=self.now)

    def now(self) -> float:
        return NOW + asyncio.get_running_loop().time() + self.ahead

    def hear(self) -> None:
        self.renewed += 1

    async def distrust(self) -> None:
        self.distrusted += 1
        self.swarm.root = self.root

    async def request(self, csr: bytes) -> bytes:
        self.at.append(self.now() - NOW)
        if self.failing:
            raise Unavailable("nobody there")
        return self.swarm.root.issue(csr, "n1", self.role, self.swarm.cluster_id, now=self.now())

    async def run_for(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.renewal.run()
        except TimeoutError:
            pass


def told(role: int = api.WORKER, state: int = api.IssuanceStatus.ISSUED) -> api.Node:
    return api.Node(spec={"desired_role": role}, certificate={"status": {"state": state}})


async def test_certificate_is_renewed_well_before_its_end(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    before = asked.security.identity
    await asked.run_for(80 * DAY)
    assert asked.renewed == len(asked.at) == 1
    assert 44 * DAY < asked.at[0] < 73 * DAY
    assert asked.security.identity.not_after_at > before.not_after_at


async def test_failures_are_tried_again_until_one_succeeds(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.failing = True
    await asked.run_for(80 * DAY)
    assert asked.renewed == 0
    pauses = [after - before for before, after in zip(asked.at, asked.at[1:], strict=False)]
    assert len(pauses) > 100
    assert max(pauses) <= 3600
    assert max(pauses[:2]) < 20


async def test_same_role_told_again_changes_nothing(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    for _ in range(3):
        asked.renewal.observe(told())
    await asked.run_for(60)
    assert asked.at == []


async def test_promotion_is_asked_for_until_the_certificate_says_so(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.renewal.observe(told(api.MANAGER))
    asked.renewal.observe(told(api.MANAGER))
    await asked.run_for(5)
    assert asked.at[0] == 0.5
    assert not asked.security.is_manager
    asked.role = api.MANAGER
    await asked.run_for(60)
    assert asked.security.is_manager
    count = len(asked.at)
    await asked.run_for(3600)
    assert len(asked.at) == count


async def test_ca_that_wants_another_certificate_gets_one(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.renewal.observe(told(state=api.IssuanceStatus.ROTATE))
    await asked.run_for(60)
    assert asked.at == [0.5]


async def test_key_that_others_may_know_is_replaced(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    before = asked.security.key_pem
    asked.renewal.renew_soon()
    await asked.run_for(60)
    assert asked.at == [0.5]
    assert asked.security.key_pem != before


async def test_expired_certificate_is_renewed_at_once(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    await asyncio.sleep(100 * DAY)
    await asked.run_for(60)
    assert asked.renewed == 1


async def test_certificate_of_a_clock_that_was_ahead_is_renewed_once_the_clock_is_set(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.ahead = 100 * DAY
    await asked.run_for(60)
    assert asked.renewed == 1
    asked.ahead = 0.0
    assert asked.security.identity.not_before_at > asked.now()
    await asked.run_for(60)
    assert asked.renewed == 2
    assert asked.security.identity.not_before_at < asked.now()


async def test_clock_that_is_set_while_nothing_is_due_is_noticed(tmp_path: Path) -> None:
    asked = Asked(tmp_path)

    async def set_clock() -> None:
        await asyncio.sleep(10)
        asked.ahead = -2 * DAY

    async with asyncio.TaskGroup() as group:
        group.create_task(set_clock())
        group.create_task(asked.run_for(4000))
    # By this clock, which is before the root's beginning, the new certificate is not valid either, so it is not used.
    assert asked.at
    assert asked.distrusted == len(asked.at)
    assert not asked.renewed


async def test_certificate_of_an_unknown_root_is_not_used(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    before = asked.security.chain_pem
    asked.swarm.root = create_root(NOW)
    asked.renewal.observe(told(state=api.IssuanceStatus.ROTATE))
    await asked.run_for(0.6)
    assert asked.distrusted == 1
    assert asked.security.chain_pem == before
    await asked.run_for(60)
    assert asked.renewed == 1
