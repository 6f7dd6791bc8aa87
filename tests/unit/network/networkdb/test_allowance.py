from shoal.network.networkdb.allowance import Allowance


def test_some_at_once_then_at_a_rate() -> None:
    allowance = Allowance(2.0, 3)
    assert [allowance.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert allowance.take(10.5)
    assert not allowance.take(10.6)
    assert not allowance.full(11.0)
    assert allowance.full(13.0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    allowance = Allowance(1.0, 1)
    assert allowance.take(100.0)
    assert not allowance.take(50.0)
