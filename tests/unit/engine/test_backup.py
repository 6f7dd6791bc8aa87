import asyncio
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shoal.node.types import RestoreRequest, SwarmInfo
from shoal.store.backup_file import Decoder
from tests.unit.engine.fakes import FACTS, FakeNode, backend, client, manager_node

BACKUP = "/shoal/v1/swarm/backup"
RESTORE = "/shoal/v1/swarm/restore"
REFUSED = "This node is not a swarm manager."


def served(node: FakeNode, folder: Path) -> Any:
    return client(backend(node=node, facts=replace(FACTS, data_root=str(folder))))


async def saved(saved_bytes: bytes = b"x" * 1000) -> bytes:
    file = io.BytesIO()
    node, _ = manager_node()
    node.saved = saved_bytes
    await node.backup(file)
    return file.getvalue()


@pytest.mark.parametrize("size_bytes", [10, 3_000_000])
async def test_a_backup_comes_with_its_length_and_is_whole(tmp_path: Path, size_bytes: int) -> None:
    node, _ = manager_node()
    node.saved = b"x" * size_bytes
    async with served(node, tmp_path) as http:
        answer = await http.get(BACKUP)
        data = await answer.read()
        assert answer.status == 200
        assert answer.content_type == "application/octet-stream"
        assert answer.content_length == len(data) > size_bytes
        decoder = Decoder()
        decoder.feed(data)
        assert decoder.end().objects == {"services": 1}
    assert list(tmp_path.iterdir()) == []


async def test_a_node_that_is_no_manager_refuses_in_dockers_words(tmp_path: Path) -> None:
    async with served(FakeNode(), tmp_path) as http:
        answer = await http.get(BACKUP)
        assert answer.status == 503
        assert (await answer.json())["message"].startswith(REFUSED)


async def test_a_restore_hands_on_addresses_and_says_what_came_of_it(tmp_path: Path) -> None:
    node = FakeNode()
    async with served(node, tmp_path) as http:
        query = {"listenAddr": "eth0:2378", "advertiseAddr": "10.0.0.9", "dataPathAddr": "eth1"}
        answer = await http.post(RESTORE, params=query, data=await saved())
        assert answer.status == 200
        told = await answer.json()
    assert node.asked == [RestoreRequest("eth0:2378", "10.0.0.9", "eth1")]
    assert (told["NodeID"], told["Locked"]) == ("m1", False)
    assert told["Backup"]["Objects"] == {"services": 1}
    assert list(tmp_path.iterdir()) == []


async def test_addresses_have_dockers_defaults(tmp_path: Path) -> None:
    node = FakeNode()
    async with served(node, tmp_path) as http:
        assert (await http.post(RESTORE, data=await saved())).status == 200
    assert node.asked == [RestoreRequest("0.0.0.0:2377")]


async def test_a_node_of_a_swarm_is_not_made_another(tmp_path: Path) -> None:
    node, _ = manager_node()
    async with served(node, tmp_path) as http:
        answer = await http.post(RESTORE, data=io.BytesIO(b"x" * 3_000_000))
        assert answer.status == 503
        assert "already part of a swarm" in (await answer.json())["message"]
    assert node.asked == []


async def test_what_is_no_whole_backup_is_refused(tmp_path: Path) -> None:
    data = await saved()
    for wrong, text in ((data[:-1], "cut short or changed"), (b"other", "no backup of a swarm"), (b"", "no backup")):
        node = FakeNode()
        async with served(node, tmp_path) as http:
            answer = await http.post(RESTORE, data=wrong)
            assert answer.status == 400
            assert text in (await answer.json())["message"]
        assert node.swarm == SwarmInfo()


async def test_a_transfer_that_breaks_off_restores_nothing(tmp_path: Path) -> None:
    node = FakeNode()
    data = await saved(b"x" * 500_000)
    broken = asyncio.Event()

    async def half() -> Any:
        yield data[:400_000]
        broken.set()
        raise OSError("the line is cut")

    async with served(node, tmp_path) as http:
        with pytest.raises((OSError, aiohttp.ClientError)):
            await http.post(RESTORE, data=half())
        assert broken.is_set()
        # The daemon goes on, and the first attempt does not disturb another one.
        answer = await http.post(RESTORE, data=io.BytesIO(data))
        assert answer.status == 200
    assert len(node.asked) == 1
