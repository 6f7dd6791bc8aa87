"""Waits that nobody hears of."""

from shoal.runtime.waits import silently


async def test_a_wait_that_nobody_hears_of_is_only_a_wait() -> None:
    async with silently("waiting"):
        pass
