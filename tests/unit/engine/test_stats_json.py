from shoal.engine.stats_json import stats_json
from shoal.runtime.types import Phase
from tests.unit.engine.host_fakes import READING, container


def test_reading_has_dockers_shape() -> None:
    shown = stats_json(container(), READING, READING)
    assert shown["name"] == "/web.1"
    assert shown["read"] == shown["preread"] == "1970-01-01T00:33:20Z"
    assert (
        shown["cpu_stats"]
        == shown["precpu_stats"]
        == {
            "cpu_usage": {"total_usage": 50, "usage_in_kernelmode": 20, "usage_in_usermode": 30},
            "system_cpu_usage": 1000,
            "online_cpus": 2,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        }
    )
    assert shown["memory_stats"] == {"usage": 4096, "stats": {"inactive_file": 5}, "limit": 1 << 20}
    assert shown["pids_stats"] == {"current": 3}
    assert shown["networks"] == {"eth0": {"rx_bytes": 1, "tx_bytes": 2}}
    assert shown["blkio_stats"]["io_service_bytes_recursive"] == [{"major": 8, "minor": 0, "op": "read", "value": 10}]
    assert shown["blkio_stats"]["sectors_recursive"] is None


def test_stopped_container_has_empty_numbers() -> None:
    shown = stats_json(container(phase=Phase.EXITED), None, None)
    assert shown["read"] == shown["preread"] == "0001-01-01T00:00:00Z"
    assert shown["memory_stats"] == shown["pids_stats"] == {}
    assert "networks" not in shown
    assert shown["cpu_stats"]["cpu_usage"]["total_usage"] == 0
