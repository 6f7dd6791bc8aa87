"""The kernel's thread: opened and closed, and asked for what needs no root. The rest: cluster/test_network_process."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.network.kernel.state import DEFAULT_MTU, OverlayState, Seen, Segment
from shoal.network.process.kernel import Kernel


async def test_it_opens_and_closes_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "overlays"
    kernel = Kernel(folder, "test")
    await kernel.open()
    assert await kernel.path_mtu(ip_address("192.0.2.1")) == DEFAULT_MTU
    assert await kernel.apply([]) == []
    failed = await kernel.balance({tmp_path / "gone": {}})
    assert list(failed) == [tmp_path / "gone"]
    await kernel.forget([tmp_path / "gone"])
    assert await kernel.look_again([], []) == []
    looked = await kernel.look("unknown", [tmp_path / "gone"])
    assert looked.overlay == Seen()
    assert list(looked.failed) == [tmp_path / "gone"]
    assert (kernel.counts.applied, kernel.counts.failed, kernel.counts.repaired) == (3, 1, 0)
    assert await kernel.remove() == []
    assert not folder.exists()
    await kernel.close()


async def test_an_encrypted_overlay_without_keys_is_not_made(tmp_path: Path) -> None:
    kernel, here = Kernel(tmp_path / "overlays", "test"), ip_address("192.0.2.1")
    await kernel.open()
    state = OverlayState("n1", 1424, here, 4789, (Segment(5, ()),), encrypted=True)
    for local, words in (
        (here, "encryption: the swarm gave 0 keys for encrypted networks, not 3"),
        (None, "encryption: this node is in no swarm that has keys"),
    ):
        (trouble,) = await kernel.apply([state], (), local)
        assert (trouble.network, trouble.message) == ("n1", words)
    assert list((tmp_path / "overlays").iterdir()) == []
    await kernel.close()


@pytest.mark.parametrize("stuck", ["_mesher6", "_mesher"])
async def test_a_part_of_the_mesh_that_stays_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: str
) -> None:
    kernel = Kernel(tmp_path / "overlays", "test")
    await kernel.open()
    gone: list[str] = []

    def remove(part: str) -> None:
        gone.append(part)
        if part == stuck:
            raise ShoalError("it stays")

    for part in ("_mesher6", "_mesher"):
        monkeypatch.setattr(getattr(kernel, part), "remove", lambda tag, part=part: remove(part))
    monkeypatch.setattr(kernel._ports, "release", lambda keep=(): remove("ports"))
    with pytest.raises(ShoalError, match="it stays"):
        await kernel.no_mesh()
    assert gone == ["_mesher6", "_mesher", "ports"]
    await kernel.close()
