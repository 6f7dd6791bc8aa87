"""A bridge belongs to nobody once its data root and its daemon are gone, and not before."""

from pathlib import Path

from shoal.daemon.leftovers import command, ownerless
from shoal.network.bridge import OtherBridge


def test_only_what_has_neither_data_root_nor_daemon_is_nobodys(tmp_path: Path) -> None:
    stopped, copied = tmp_path / "stopped", tmp_path / "copied"
    for root, engine_id in ((stopped, "aaaaaaaa-1111"), (copied, "ffffffff-1111")):
        root.mkdir()
        (root / "engine-id").write_text(f"{engine_id}\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "engine-id").mkdir()
    bridges = [
        OtherBridge("shoalaaaaaaaa", str(stopped), 3),
        OtherBridge("shoalbbbbbbbb", str(tmp_path / "gone"), 2),
        OtherBridge("shoalcccccccc", str(tmp_path / "gone"), 0),  # its daemon still runs
        OtherBridge("shoaldddddddd", "", 1),  # made by a release that did not name the owner
        OtherBridge("shoaleeeeeeee", str(copied), 0),  # by now another daemon's data root
        OtherBridge("shoal11111111", str(tmp_path / "file"), 0),
        OtherBridge("shoal22222222", str(tmp_path / "odd"), 0),
    ]
    found = ownerless(bridges, lambda tag: tag == "cccccccc")
    assert [bridge.tag for bridge in found] == ["bbbbbbbb", "eeeeeeee", "11111111"]
    assert command(found[0]) == "ip link delete shoalbbbbbbbb"
