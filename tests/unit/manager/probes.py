"""Hosts for tests of the dispatcher, which asks them whether they are there."""

import asyncio


async def no_host(_host: str, _port: int, _patience: float) -> bool:
    """A host that answers nothing, and none of whose silence is of use."""
    return False


class Hosts:
    """Hosts that answer unless they are in `silent`, by address. A silent one takes as long as it is given."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int, patience: float) -> bool:
        self.asked.append((host, port))
        if host in self.silent:
            await asyncio.sleep(patience)
        return host not in self.silent
