import pytest

from shoal.compose.errors import ComposeError
from tests.unit.compose.files import service


def test_numbers_sizes_and_durations_in_text_and_bare() -> None:
    found = service("pids_limit: '0x10', cpus: '1.50', mem_limit: 1000, stop_grace_period: 90s, cpu_shares: 7.0")
    assert found == {
        **{"pids_limit": 16, "cpus": 1.5, "mem_limit": "1000", "stop_grace_period": "1m30s", "cpu_shares": 7},
    }


@pytest.mark.parametrize("text", ["pids_limit: 1.5", "cpus: x", "mem_limit: -5", "stop_grace_period: 5", "cpus: .nan"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ComposeError, match="must be"):
        service(text)
