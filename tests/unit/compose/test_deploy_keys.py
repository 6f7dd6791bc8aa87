import pytest

from shoal.compose.errors import ComposeError
from tests.unit.compose.files import service


def test_devices_are_all_where_none_are_counted() -> None:
    reservations = "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}"
    assert service(reservations)["deploy"] == {
        "resources": {"reservations": {"devices": [{"capabilities": ["gpu"], "count": -1}]}}
    }
    assert service("gpus: all") == {"gpus": [{"count": -1}]}


def test_devices_are_counted_or_named() -> None:
    with pytest.raises(ComposeError, match="count and device_ids exclude each other"):
        service("gpus: [{count: 1, device_ids: ['0']}]")
