"""The parts of the network process, joined."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from shoal.errors import NotFound
from shoal.network.process import composition, memory
from shoal.network.process.composition import compose
from shoal.network.process.memory import Memory
from shoal.network.process.parts import Legacy
from shoal.network.records import ENDPOINTS, Changed, EndpointRecord
from shoal.network.wanted import Overlay, Wanted


async def test_a_network_is_known_once_it_is_wanted(tmp_path: Path) -> None:
    async with compose(tmp_path, "test", Legacy()) as parts:
        with pytest.raises(NotFound):
            await parts.show("n")
        troubles = await parts.apply(Wanted(1, overlays=(Overlay("n", "blue", ()),)))
        assert [trouble.message for trouble in troubles] == ["network blue has no subnet"]
        shown = await parts.show("n")
        assert len(shown["nodes"]) == 1  # this one
        assert shown["endpoints"] == shown["neighbours"] == {}


async def test_what_the_last_process_knew_of_others_is_forgotten_unless_gossip_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "HOLD", 0.2)
    monkeypatch.setattr(memory, "ALONE", 0.2)
    monkeypatch.setattr(composition, "FORGET_EVERY", 0.05)
    record = EndpointRecord("web.1", ip_address("10.0.1.9"), "s", "web").encode()
    last = Memory()
    last.hear([Changed(ENDPOINTS, "n", "e1", "other", None, record)], "me", 0.0)
    memory.keep(tmp_path, last.text())
    wanted = Wanted(1, overlays=(Overlay("n", "blue", ()),))
    async with compose(tmp_path, "test", Legacy()) as parts:
        await parts.apply(wanted)
        await parts.apply(replace(wanted, revision=2))  # shoald says the same again at once
        assert list((await parts.show("n"))["endpoints"]) == ["e1"]
        async with asyncio.timeout(10):
            while (await parts.show("n"))["endpoints"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
