"""The defaults are Docker's; bad combinations are refused."""

import pytest

from shoal.errors import InvalidArgument
from shoal.network.gossip.config import Config


def test_defaults_are_dockers() -> None:
    config = Config(name="0123456789ab", address="10.0.0.1")
    assert (config.port, config.packet_budget, config.probe_interval, config.probe_timeout) == (7946, 1400, 1.0, 0.5)
    assert (config.gossip_interval, config.gossip_nodes, config.push_pull_interval) == (0.2, 3, 30.0)


@pytest.mark.parametrize(
    "bad", [{"name": ""}, {"name": "n" * 129}, {"port": 0}, {"probe_timeout": 1.0}, {"packet_budget": 100}]
)
def test_bad_value_is_refused_with_its_name(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(bad))):
        Config(**({"name": "n", "address": "10.0.0.1"} | bad))  # type: ignore[arg-type]
