"""Downloads that stand still are given up, and those of one registry take no places of another's."""

import asyncio

from shoal.runtime.pace import (
    PULLS_AT_ONCE,
    PULLS_OF_A_REGISTRY,
    SLACK_BYTES,
    STALLED_AFTER,
    STALLED_BYTES,
    Pace,
    Places,
)


def test_a_download_that_brings_enough_goes_on() -> None:
    pace, here = Pace(0.0, 1 << 40), 0
    for now in range(1, 1000):
        here += STALLED_BYTES // 50
        assert pace.refusal(float(now), here) is None


def test_a_trickle_is_given_up() -> None:
    pace = Pace(0.0, 1 << 40)
    assert pace.refusal(STALLED_AFTER - 1, STALLED_BYTES - 1) is None
    assert pace.refusal(STALLED_AFTER, STALLED_BYTES - 1) == "the registry sent less than 64 KiB in 60 s"


def test_what_is_loaded_again_is_no_progress() -> None:
    pace = Pace(0.0, 1 << 40)
    assert pace.refusal(1.0, 10 * STALLED_BYTES) is None
    for now in range(2, 61):
        assert pace.refusal(float(now), (now % 10) * STALLED_BYTES) is None
    assert pace.refusal(61.0, 9 * STALLED_BYTES)


def test_more_than_was_announced_is_refused() -> None:
    pace = Pace(0.0, 1000)
    assert pace.refusal(0.1, 1000 + SLACK_BYTES) is None
    assert (
        pace.refusal(0.2, 1001 + SLACK_BYTES) == "the registry sends more than the 1000 bytes that the manifest names"
    )


async def test_a_registry_takes_its_own_places_only() -> None:
    places, ended = Places(), asyncio.Event()
    begun: list[str] = []

    async def pull(domain: str) -> None:
        async with places.taken(domain):
            begun.append(domain)
            await ended.wait()

    async with asyncio.TaskGroup() as group:
        stalled = [group.create_task(pull("slow")) for _ in range(PULLS_OF_A_REGISTRY + 2)]
        await _turns()
        assert begun == ["slow"] * PULLS_OF_A_REGISTRY
        group.create_task(pull("quick"))
        await _turns()
        assert begun[-1] == "quick"
        for child in stalled[:2]:
            child.cancel()
        await _turns()
        assert begun.count("slow") == PULLS_OF_A_REGISTRY + 2
        others = [group.create_task(pull(f"registry-{number}")) for number in range(PULLS_AT_ONCE)]
        await _turns()
        assert len(begun) - 2 == PULLS_AT_ONCE
        assert others
        ended.set()
    assert not places._of
    assert not places._wanted


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
