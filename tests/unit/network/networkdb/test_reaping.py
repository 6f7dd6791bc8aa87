from shoal.network.networkdb.reaping import Deadlines


def test_items_are_due_in_their_order_once() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("b", 2.0)
    deadlines.set("a", 1.0)
    deadlines.set("c", 3.0)
    assert deadlines.due(0.5) == []
    assert deadlines.due(2.0) == ["a", "b"]
    assert deadlines.due(2.0) == []
    assert len(deadlines) == 1


def test_an_item_that_is_set_again_is_due_then_alone() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("a", 5.0)
    deadlines.set("b", 2.0)
    deadlines.drop("b")
    assert deadlines.due(4.0) == []
    assert deadlines.due(5.0) == ["a"]


def test_moving_an_item_for_ever_keeps_nothing() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for number in range(10_000):
        deadlines.set("a", float(number))
        deadlines.set(str(number), 1.0)
        deadlines.drop(str(number))
    assert len(deadlines._heap) < 200
    assert deadlines.due(9999.0) == ["a"]
