"""What `docker rmi` does and refuses."""

import pytest

from shoal.errors import Conflict
from shoal.runtime.image_store import Record
from shoal.runtime.removal import Plan, decide

ID = "sha256:" + "ca" * 32
DIGEST = "docker.io/library/app@sha256:" + "d" * 64
APP, TWO, OTHER = "docker.io/library/app:latest", "docker.io/library/app:two", "docker.io/library/other:latest"


def plan(ref: str, *names: str, digests: tuple[str, ...] = (), **options: object) -> Plan:
    record = Record(ID, "{}", (), dict.fromkeys(names, 1), digests)
    wanted = {"force": False, "holders": (), "running": lambda _: True, **options}
    return decide(record, names, ref, **wanted)  # type: ignore[arg-type]


def test_the_last_name_takes_the_image_along() -> None:
    assert plan("app", APP) == Plan((APP,), True)


def test_with_another_name_the_image_stays() -> None:
    assert plan("app", APP, OTHER) == Plan((APP,), False)


def test_the_last_tag_of_a_repository_takes_its_digests_along() -> None:
    assert plan("app", APP, digests=(DIGEST,)) == Plan((APP, DIGEST), True)
    assert plan("app", APP, TWO, digests=(DIGEST,)) == Plan((APP,), False)


def test_an_image_that_was_pulled_by_digest_goes_with_it() -> None:
    assert plan(DIGEST, digests=(DIGEST,)) == Plan((DIGEST,), True)


def test_an_id_removes_all_names_of_one_repository() -> None:
    assert plan("cacaca", APP, digests=(DIGEST,)) == Plan((APP, DIGEST), True)


def test_an_id_with_several_names_needs_force() -> None:
    with pytest.raises(
        Conflict, match=r"unable to delete cacacacacaca \(must be forced\) - image is referenced in mult"
    ):
        plan("cacaca", APP, OTHER)
    assert plan("cacaca", APP, OTHER, force=True) == Plan((APP, OTHER), True)


def test_a_name_that_looks_like_an_id_is_a_name() -> None:
    assert plan("caca", "docker.io/library/caca:latest", OTHER).delete is False


def test_a_used_image_keeps_its_last_name() -> None:
    with pytest.raises(
        Conflict, match=r'remove repository reference "app" \(must force\) - container c1 is using its ref'
    ):
        plan("app", APP, holders=("c1",))
    assert plan("app", APP, OTHER, holders=("c1",)) == Plan((APP,), False)


def test_force_takes_the_name_of_a_running_containers_image() -> None:
    assert plan("app", APP, holders=("c1",), force=True) == Plan((APP,), False)


def test_force_removes_a_stopped_containers_image() -> None:
    assert plan("app", APP, holders=("c1",), force=True, running=lambda _: False) == Plan((APP,), True)


def test_by_id_a_running_container_forbids_even_force() -> None:
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running container c1"):
        plan("cacaca", APP, holders=("c1",), force=True)


def test_by_id_a_stopped_container_needs_force() -> None:
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container c1"):
        plan("cacaca", APP, holders=("c1",), running=lambda _: False)
