import pytest

from shoal.network.networkdb import attachments as module
from shoal.network.networkdb.attachments import Attachment, Attachments


def test_who_left_has_a_record_and_is_not_on_the_network() -> None:
    attachments = Attachments()
    attachments.set("a", "net", 1)
    attachments.set("b", "net", 2)
    attachments.set("a", "net", 3, leaving=True, lost=True)
    assert attachments.get("a", "net") == Attachment(3, leaving=True, lost=True)
    assert list(attachments.on("net")) == ["b"]
    assert not attachments.has("a", "net")
    assert len(attachments) == 2
    attachments.set("a", "net", 4)
    assert attachments.has("a", "net")
    assert attachments.of("a") == {"net": Attachment(4)}


def test_nothing_is_left_of_what_is_removed() -> None:
    attachments = Attachments()
    attachments.set("a", "net", 1)
    attachments.remove("a", "net")
    attachments.remove("a", "net")
    assert list(attachments) == []
    assert len(attachments) == 0
    assert len(attachments.on("net")) == 0
    assert attachments.of("a") == {}


def test_a_node_is_on_so_many_networks_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NETWORKS", 2)
    monkeypatch.setattr(module, "MOST_ATTACHMENTS", 3)
    attachments = Attachments()
    attachments.set("a", "1", 1)
    attachments.set("a", "2", 1)
    assert not attachments.room_for("a")
    assert attachments.room_for("b")
    attachments.set("b", "1", 1)
    assert not attachments.room_for("c")
