"""Looks whether others have changed our packet rules in containers' namespaces, and has them written again.

In: the containers that there are. Out: what could not be mended. Nothing that is found in a namespace is believed: what
is written is what is wanted.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from shoal.network.names.redirect import redirect
from shoal.network.names.server import NameServer
from shoal.network.process.kernel import Kernel
from shoal.network.process.rounds import Rounds
from shoal.network.wanted import Sandbox, Trouble

log = logging.getLogger(__name__)

# At each look, which is every 3 s: 200 containers in ten seconds. One costs a question to the kernel.
AT_ONCE = 64


class Lookout:
    """Looks at some containers each time."""

    def __init__(self, kernel: Kernel, names: NameServer) -> None:
        self._kernel = kernel
        self._names = names
        self._rounds = Rounds(AT_ONCE)

    async def look(self, sandboxes: Mapping[str, Sandbox]) -> list[Trouble]:
        """Look at those that are due, by container, and mend them."""
        now = asyncio.get_running_loop().time()
        due = self._rounds.due(self._names.served() & sandboxes.keys(), now)
        paths = {container: Path(sandboxes[container].netns) for container in due}
        changed = await self._kernel.others_wrote(
            [*paths.values()], among=[Path(one.netns) for one in sandboxes.values()]
        )
        texts = {}
        for container, netns in paths.items():
            self._rounds.looked(container, netns in changed, now)
            if netns in changed:
                log.info("others changed packet rules in container %s: ours are written again", container[:12])
                texts[netns] = redirect(*self._names.ports(container))
        failed = await self._kernel.write_again(texts) if texts else {}
        return [
            Trouble(endpoint.network, endpoint.id, f"names and virtual IPs: {words}")
            for container, netns in paths.items()
            if (words := failed.get(netns))
            for endpoint in sandboxes[container].endpoints[:1]
        ]
