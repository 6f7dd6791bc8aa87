"""Which connection is read when, and for how long. The readers count the processor time themselves."""

import asyncio

import pytest

from shoal.manager.port.allowances import STRANGERS_TIME, Rate
from shoal.manager.port.shares import REMEMBERED, TURN_SECONDS, Party, Shares

pytestmark = pytest.mark.looptime

PLENTY = Rate(1000.0, 1000.0)


class Processor:
    """The processor time that readers have used."""

    used = 0.0

    def __call__(self) -> float:
        return self.used


class Peer:
    """A peer with this many pieces to read. Each takes a millisecond."""

    def __init__(self, processor: Processor, pieces: int, *, later: float = 0.0) -> None:
        self.processor = processor
        self.pieces = pieces
        self.later = later
        self.read: list[float] = []

    def read_some(self) -> tuple[bool, float]:
        self.processor.used += 0.001
        self.pieces -= 1
        self.read.append(asyncio.get_running_loop().time())
        return self.pieces > 0, self.later


@pytest.fixture
def processor() -> Processor:
    return Processor()


@pytest.fixture
def shares(processor: Processor) -> Shares:
    return Shares(processor)


def enter(shares: Shares, name: str, rate: Rate = PLENTY, *, stranger: bool = False) -> Party:
    return shares.enter(name, rate, stranger=stranger)


async def test_who_comes_alone_is_read_at_once(shares: Shares, processor: Processor) -> None:
    peer = Peer(processor, 1)
    shares.read(enter(shares, "a"), peer)
    assert len(peer.read) == 1


async def test_a_turn_of_the_loop_reads_for_a_few_milliseconds(shares: Shares, processor: Processor) -> None:
    peer = Peer(processor, 100)
    shares.read(enter(shares, "a"), peer)
    most, before = 0, 0
    while peer.pieces:
        await asyncio.sleep(0)
        most, before = max(most, len(peer.read) - before), len(peer.read)
    assert most == pytest.approx(TURN_SECONDS / 0.001, abs=1)


async def test_parties_have_turns_however_many_connections_one_has(shares: Shares, processor: Processor) -> None:
    flood = enter(shares, "flood")
    many = [Peer(processor, 100) for _ in range(50)]
    for peer in many:
        shares.read(flood, peer)
    quiet = Peer(processor, 4)
    shares.read(enter(shares, "quiet"), quiet)
    while quiet.pieces:  # noqa: ASYNC110 - turns of the loop are what is counted
        await asyncio.sleep(0)
    assert sum(len(peer.read) for peer in many) <= 4 + 2 * TURN_SECONDS / 0.001


async def test_who_has_used_up_his_share_waits_and_others_do_not(shares: Shares, processor: Processor) -> None:
    greedy, other = Peer(processor, 1000), Peer(processor, 1)
    shares.read(enter(shares, "greedy", Rate(0.1, 0.05)), greedy)
    await asyncio.sleep(10)
    assert len(greedy.read) == pytest.approx((0.1 + 10 * 0.05) / 0.001, rel=0.05)
    shares.read(enter(shares, "other"), other)
    assert len(other.read) == 1


async def test_what_follows_from_what_was_read_counts(shares: Shares, processor: Processor) -> None:
    greedy = Peer(processor, 1000, later=0.009)
    shares.read(enter(shares, "greedy", Rate(0.1, 0.05)), greedy)
    await asyncio.sleep(10)
    assert len(greedy.read) == pytest.approx((0.1 + 10 * 0.05) / 0.01, rel=0.05)


async def test_all_strangers_together_have_one_share_and_each_its_part(shares: Shares, processor: Processor) -> None:
    peers = [Peer(processor, 10_000) for _ in range(20)]
    for number, peer in enumerate(peers):
        shares.read(enter(shares, f"host {number}", stranger=True), peer)
    await asyncio.sleep(20)
    counts = [len(peer.read) for peer in peers]
    assert sum(counts) == pytest.approx((STRANGERS_TIME.burst + 20 * STRANGERS_TIME.per_second) / 0.001, rel=0.05)
    assert max(counts) - min(counts) <= 2


async def test_who_connects_again_owes_what_he_owed(shares: Shares, processor: Processor) -> None:
    rate, total = Rate(0.1, 0.0001), 0
    for _ in range(10):
        peer = Peer(processor, 1000)
        shares.read(enter(shares, "host", rate), peer)
        await asyncio.sleep(0.1)
        shares.leave("host", peer)
        total += len(peer.read)
    assert total == pytest.approx(100, abs=2)


async def test_nothing_is_read_for_who_has_left(shares: Shares, processor: Processor) -> None:
    peer = Peer(processor, 1000)
    shares.read(enter(shares, "a"), peer)
    shares.leave("a", peer)
    seen = len(peer.read)
    await asyncio.sleep(1)
    assert len(peer.read) == seen


async def test_those_who_have_gone_are_not_remembered_for_ever(shares: Shares, processor: Processor) -> None:
    for number in range(REMEMBERED + 100):
        peer = Peer(processor, 1)
        enter(shares, str(number))
        shares.leave(str(number), peer)
    assert len(shares._parties) == REMEMBERED
