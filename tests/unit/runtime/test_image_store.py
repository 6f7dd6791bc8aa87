"""Records of images on disk."""

import json
import logging
from pathlib import Path

import pytest

from shoal.errors import DamagedState, NotFound
from shoal.runtime.image_store import ImageStore, created_at

APP, OTHER = "docker.io/library/app:latest", "docker.io/library/other:latest"
DIGEST = "docker.io/library/app@sha256:" + "d" * 64


def config(word: str = "a") -> bytes:
    return json.dumps({"architecture": word, "rootfs": {"diff_ids": []}}).encode()


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path)


def test_an_image_is_found_by_name_digest_id_and_prefix(store: ImageStore, tmp_path: Path) -> None:
    record = store.put(config(), (), [APP], [DIGEST])
    for opened in (store, ImageStore(tmp_path)):
        for ref in ("app", "app:latest", DIGEST, record.id, record.id[7:], record.id[7:14], record.id[:14]):
            assert opened.find(ref) == record


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("nope", "No such image: nope:latest"),
        ("nope:1", "No such image: nope:1"),
        ("sha256:" + "e" * 64, "No such image: sha256:" + "e" * 64),
        ("Not Valid", "No such image: Not Valid"),
        ("app:two", "No such image: app:two"),
    ],
)
def test_what_is_not_here_is_said_in_dockers_words(store: ImageStore, ref: str, words: str) -> None:
    store.put(config(), (), [APP], [])
    with pytest.raises(NotFound) as raised:
        store.find(ref)
    assert str(raised.value) == words


def test_a_name_moves_to_the_newest_image(store: ImageStore, tmp_path: Path) -> None:
    old, new = store.put(config("old"), (), [APP, OTHER], []), store.put(config("new"), (), [APP], [])
    for opened in (store, ImageStore(tmp_path)):
        assert opened.find("app").id == new.id
        kept = opened.find("other")
        assert kept.id == old.id
        assert opened.names(kept) == [OTHER]
        assert list(kept.names) == [OTHER]


def test_after_a_crash_between_two_writes_the_newest_has_the_name(store: ImageStore, tmp_path: Path) -> None:
    old = store.put(config("old"), (), [APP], [])
    before = (tmp_path / "records" / f"{old.id[7:]}.json").read_bytes()
    new = store.put(config("new"), (), [APP], [])
    (tmp_path / "records" / f"{old.id[7:]}.json").write_bytes(before)
    again = ImageStore(tmp_path)
    assert again.find("app").id == new.id
    assert again.names(again.find(old.id)) == []


def test_a_hidden_image_is_there_for_its_containers_alone(store: ImageStore) -> None:
    from shoal.runtime.removal import hide

    record = store.put(config(), (), [APP], [])
    store.save(hide(record))
    for ref in ("app", record.id, record.id[7:14]):
        with pytest.raises(NotFound):
            store.find(ref)
    assert store.by_id(record.id)
    assert store.put(config(), (), [APP], []).hidden is False


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"config": "{}"}', b"\xff"])
def test_a_damaged_record_is_named_and_kept_and_the_others_go_on(
    store: ImageStore, tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = store.put(config("bad"), (), [OTHER], []), store.put(config("good"), (), [APP], [])
    path = tmp_path / "records" / f"{bad.id[7:]}.json"
    path.write_bytes(damage)
    with caplog.at_level(logging.ERROR):
        again = ImageStore(tmp_path)
    assert [problem.path for problem in again.damaged] == [str(path)]
    assert isinstance(again.damaged[0], DamagedState)
    assert str(path) in caplog.text
    assert again.find("app").id == good.id
    assert path.read_bytes() == damage


def test_a_changed_config_is_damage(store: ImageStore, tmp_path: Path) -> None:
    record = store.put(config(), (), [APP], [])
    path = tmp_path / "records" / f"{record.id[7:]}.json"
    path.write_text(path.read_text().replace("architecture", "architectura"))
    assert len(ImageStore(tmp_path).damaged) == 1


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T00:00:10.123456789Z", 10.123456),
        ("1970-01-01T01:00:10.5+01:00", 10.5),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("0001-01-01T00:00:00+23:59", -62135596800.0),
        ("9999-12-31T23:59:59-23:59", 253402300799.0),
        ("yesterday", 0.0),
        ("", 0.0),
    ],
)
def test_the_time_of_making_is_read(text: str, at: float) -> None:
    assert created_at({"created": text}) == at


def test_a_bad_config_that_is_here_is_shown_as_well_as_can_be(tmp_path: Path) -> None:
    bad = {
        "created": 7,
        "config": {"Labels": ["a"], "Entrypoint": {"sh": 1}, "Cmd": ["serve"]},
        "rootfs": {"diff_ids": []},
    }
    record = ImageStore(tmp_path).put(json.dumps(bad).encode(), (), [APP], [])
    again = ImageStore(tmp_path)
    assert not again.damaged
    assert again.find("app").config == {"config": {"Cmd": ["serve"]}, "rootfs": {"diff_ids": []}}
    assert created_at(again.find(record.id).config) == 0.0
