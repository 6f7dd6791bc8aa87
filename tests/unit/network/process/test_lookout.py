"""What others change in containers is written again, by a node's network in a made-up kernel."""

import asyncio
from pathlib import Path

import pytest

from shoal.network.process.talk import Talk
from shoal.network.wanted import Endpoint, Overlay, Sandbox, Subnet, Wanted
from tests.unit.network.process.test_composition import One, no_gossip


async def test_what_others_changed_in_a_container_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Talk, "set_gossip", no_gossip)
    blue = Overlay("blue", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),))
    endpoints = [
        Endpoint(f"{n}".ljust(64, "0"), "blue", f"10.0.1.{n}/24", f"02:42:0a:00:01:{n}", "e") for n in (10, 11)
    ]
    sandboxes = tuple(Sandbox(f"c{n}", "t", f"/n/{n}", (one,)) for n, one in enumerate(endpoints))
    async with asyncio.TaskGroup() as group:
        one = One(tmp_path, group)
        try:
            await one.network.apply(Wanted(1, None, (blue,), sandboxes))
            assert await one.network.verify() is None
            assert one.kernel.again == []
            one.kernel.spoilt = {Path("/n/0"), Path("/n/1")}
            one.kernel.hopeless = {Path("/n/1")}
            troubles = await one.network.verify()
            assert [(trouble.endpoint, trouble.message) for trouble in troubles or ()] == [
                (endpoints[1].id, "names and virtual IPs: no")
            ]
            assert one.kernel.again == [one.kernel.ruled]
            assert await one.network.verify() is None  # they have a pause now
        finally:
            one.close()
