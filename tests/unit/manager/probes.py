"""Hosts for tests of the dispatcher, which probes whether hosts are there."""

import asyncio


async def no_host(_host: str, _port: int, _patience: float) -> bool:
    """A host that never answers. Its silence proves nothing, because it has not answered before."""
    return False


class Hosts:
    """Hosts that answer unless their address is in `silent`. A probe of a silent one takes as long as it may."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int, patience: float) -> bool:
        self.asked.append((host, port))
        if host in self.silent:
            await asyncio.sleep(patience)
        return host not in self.silent
