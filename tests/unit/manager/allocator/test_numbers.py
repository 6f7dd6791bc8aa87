from shoal.manager.allocator.numbers import Numbers


def test_numbers_rise_and_a_freed_one_rests() -> None:
    numbers = Numbers(10, 13)
    assert [numbers.take("a") for _ in range(3)] == [10, 11, 12]
    assert numbers.release(10, "a")
    assert [numbers.take("b") for _ in range(3)] == [13, 10, None]
    assert not numbers.has_free


def test_a_number_has_one_owner() -> None:
    numbers = Numbers(10, 13)
    assert numbers.hold(10, "a")
    assert numbers.hold(10, "a")
    assert not numbers.hold(10, "b")
    assert not numbers.release(10, "b")
    assert numbers.take("b") == 11
    assert (numbers.of("a"), numbers.of("b"), numbers.of("c")) == ([10], [11], [])
    assert numbers.owner_of(10) == "a"


def test_numbers_outside_are_held_and_not_given() -> None:
    numbers = Numbers(10, 11)
    assert numbers.hold(80, "a")
    assert [numbers.take("b") for _ in range(3)] == [10, 11, None]
    assert len(numbers) == 3


def test_a_new_leader_goes_on_behind_the_highest_number() -> None:
    numbers = Numbers(10, 20)
    numbers.hold(12, "a")
    numbers.hold(99, "a")
    numbers.go_on(numbers.all())
    assert numbers.take("b") == 13
    numbers.go_on([20])
    assert numbers.take("b") == 10
