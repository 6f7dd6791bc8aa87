import pytest

from shoal.errors import ResourceExhausted
from shoal.manager.certificates.rates import Requests
from shoal.manager.port.allowances import Rate


def test_a_burst_passes_and_then_one_in_a_while() -> None:
    requests = Requests(Rate(3, 0.1))
    for _ in range(3):
        requests.take("n1", "node n1", 0.0)
    for _ in range(5):
        with pytest.raises(ResourceExhausted, match=r"^node n1 has asked for certificates 3 times"):
            requests.take("n1", "node n1", 0.0)
    requests.take("n2", "node n2", 0.0)
    requests.take("n1", "node n1", 10.0)  # those that were refused did not count
    with pytest.raises(ResourceExhausted):
        requests.take("n1", "node n1", 10.0)


def test_whoever_was_silent_longest_is_forgotten() -> None:
    requests = Requests(Rate(1, 0.001), remembered=2)
    requests.take("n1", "node n1", 0.0)
    for number in range(10):
        requests.take(number, "another", 0.0)
        with pytest.raises(ResourceExhausted):
            requests.take(number, "another", 0.0)
    requests.take("n1", "node n1", 0.0)
