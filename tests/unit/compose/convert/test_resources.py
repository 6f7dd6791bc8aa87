from shoal.compose.convert.resources import resources, ulimits
from tests.unit.compose.files import project


def test_limits_and_reservations() -> None:
    text = "limits: {cpus: 0.5, memory: 1k, pids: 5}, reservations: {memory: 2k, generic_resources: "
    text += "[{discrete_resource_spec: {kind: gpu, value: 2}}]}"
    service = project(f"services: {{w: {{image: a, deploy: {{resources: {{{text}}}}}}}}}").services["w"]
    assert resources(service) == {
        "Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 1024, "Pids": 5},
        "Reservations": {
            "NanoCPUs": 0,
            "MemoryBytes": 2048,
            "GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}],
        },
    }


def test_the_older_keys_count_where_deploy_says_nothing() -> None:
    service = project("services: {w: {image: a, mem_limit: 1k, cpus: 2, pids_limit: 7, mem_reservation: 3}}").services[
        "w"
    ]
    found = resources(service)
    assert found["Limits"] == {"NanoCPUs": 2 * 10**9, "MemoryBytes": 1024, "Pids": 7}
    assert found["Reservations"]["MemoryBytes"] == 3
    assert resources(project("services: {w: {image: a}}").services["w"]) == {}


def test_ulimits() -> None:
    service = project("services: {w: {image: a, ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}, core: -1}}}").services[
        "w"
    ]
    assert ulimits(service) == [
        {"Name": "core", "Soft": -1, "Hard": -1},
        {"Name": "nofile", "Soft": 1, "Hard": 2},
        {"Name": "nproc", "Soft": 5, "Hard": 5},
    ]
