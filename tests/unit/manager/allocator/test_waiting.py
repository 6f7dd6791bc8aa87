from shoal.manager.allocator.waiting import Lacking, Waiting, address, needs, port

A, B, S = address("n", 32), port(0, 80), needs("s")


def test_waiters_are_found_in_the_order_in_which_they_came() -> None:
    waiting = Waiting()
    for name in "123":
        assert waiting.put(("task", name), Lacking("no address", A))
    assert waiting.first(A) == [("task", "1"), ("task", "2"), ("task", "3")]
    assert waiting.first(A, 2) == [("task", "1"), ("task", "2")]
    assert waiting.first(A, 0) == []
    assert waiting.first(B) == []


def test_an_item_waits_for_one_key() -> None:
    waiting = Waiting()
    waiting.put(("service", "s"), Lacking("no address", A))
    assert waiting.put(("service", "s"), Lacking("no port", B))
    assert waiting.first(A) == []
    assert waiting.first(B) == [("service", "s")]
    assert waiting.lacks(("service", "s")) == Lacking("no port", B)
    waiting.drop(("service", "s"))
    waiting.drop(("service", "s"))
    assert len(waiting) == 0
    assert waiting.first(B) == []


def test_an_item_can_be_found_by_a_second_key() -> None:
    waiting = Waiting()
    item = ("task", "t")
    waiting.put(item, Lacking("no address", A), S)
    assert waiting.first(A) == waiting.first(S) == [item]
    assert not waiting.put(item, Lacking("no address", A), S)
    waiting.put(item, Lacking("no port", B), S)
    assert (waiting.first(A), waiting.first(B), waiting.first(S)) == ([], [item], [item])
    waiting.put(item, Lacking("the same key twice", S), S)
    assert (waiting.first(B), waiting.first(S)) == ([], [item])
    waiting.drop(item)
    assert waiting.first(S) == []
    assert len(waiting) == 0


def test_a_reason_is_new_once() -> None:
    waiting = Waiting()
    assert waiting.put(("task", "t"), Lacking("this", A))
    assert not waiting.put(("task", "t"), Lacking("this", B))
    assert waiting.put(("task", "t"), Lacking("that", B))
