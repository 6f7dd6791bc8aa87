from shoal.store.changes import copy
from tests.unit.store.objects import service


def test_a_copy_is_equal_and_shares_nothing() -> None:
    original = service("s", "web")
    fresh = copy(original)
    assert fresh == original
    fresh.spec.annotations.labels["a"] = "b"
    assert not original.spec.annotations.labels
