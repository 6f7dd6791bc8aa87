import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.compose.errors import ComposeError
from shoal.compose.kinds import as_text
from tests.unit.compose.files import project, service


def wrong(text: str) -> str:
    with pytest.raises(ComposeError) as found:
        service(text)
    return str(found.value)


def test_an_unknown_key_is_told_with_its_place_and_the_likely_one() -> None:
    assert wrong("comand: x") == (
        "compose.yaml:2:19: services.web.comand: is no key of the Compose specification: did you mean command?"
    )
    assert "deploy.replica:" in wrong("deploy: {replica: 1}")


def test_values_of_another_kind_are_told() -> None:
    assert wrong("hostname: 5").endswith("services.web.hostname: must be text, and is a number")
    assert wrong("ports: {}").endswith("services.web.ports: must be a list, and is a mapping")
    assert wrong("tty: maybe").endswith("is 'maybe', and must be true or false")
    assert wrong("deploy: {replicas: true}").endswith("must be a whole number, and is true or false")
    assert wrong("volumes: [{type: carpet, target: /x}]").endswith("bind, volume, tmpfs, cluster, npipe, image")
    assert wrong("secrets: [{source: x, mode: 999999}]").endswith("must be a mode such as 0440")
    assert "services.web.environment.A: must be text" in wrong("environment: {A: [1]}")


def test_names_are_checked_and_variables_in_them_explained() -> None:
    with pytest.raises(ComposeError, match=r"compose.yaml:2:12: networks\.\$\{N\}: .*variables are not put into keys"):
        project("services: {web: {image: a}}\nnetworks: {'${N}': {}}", N="x")


def test_lists_with_a_key_are_merged_by_it() -> None:
    assert service("expose: [80, 81]", "expose: ['81', 82]") == {"expose": ["80", "81", "82"]}
    assert service("dns: 1.1.1.1", "dns: [2.2.2.2, 1.1.1.1]") == {"dns": ["1.1.1.1", "2.2.2.2"]}


@pytest.mark.parametrize(
    ("key", "given", "zero", "wanted"),
    [
        ("deploy.replicas", "3", "0", 0),
        ("deploy.restart_policy.max_attempts", "3", "0", 0),
        ("deploy.restart_policy.delay", "3s", "0s", "0s"),
        ("deploy.update_config.parallelism", "3", "0", 0),
        ("deploy.update_config.max_failure_ratio", "0.5", "0", 0),
        ("deploy.rollback_config.parallelism", "3", "0", 0),
        ("deploy.resources.limits.pids", "3", "0", 0),
        ("deploy.placement.max_replicas_per_node", "3", "0", 0),
        ("healthcheck.retries", "3", "0", 0),
        ("tty", "true", "false", False),
        ("init", "true", "false", False),
        ("hostname", "x", '""', ""),
        ("command", "[x]", "[]", []),
        ("entrypoint", "x", "[]", []),
        ("stop_grace_period", "5s", "0s", "0s"),
    ],
)
def test_given_zeros_falsehoods_and_empty_lists_override(key: str, given: str, zero: str, wanted: object) -> None:
    *above, last = key.split(".")

    def written(value: str) -> str:
        return "".join(f"{each}: {{" for each in above) + f"{last}: {value}" + "}" * len(above)

    found: object = service(written(given), written(zero))
    for each in key.split("."):
        assert isinstance(found, dict)
        found = found[each]
    assert found == wanted


def test_reset_and_override() -> None:
    assert service("ports: ['80:80'], tty: true", "ports: !reset [], tty: !reset null") == {}
    assert service("environment: {A: '1'}", "environment: !override {B: '2'}") == {"environment": {"B": "2"}}
    assert service("labels: {a: '1', b: '2'}", "labels: {a: !reset x}") == {"labels": {"b": "2"}}


def test_a_later_reset_does_not_remove_what_comes_after_it() -> None:
    assert service("tty: true", "tty: !reset null", "tty: false") == {"tty": False}


def test_an_empty_value_changes_nothing_except_a_command() -> None:
    assert service("deploy: {replicas: 2}", "deploy: ") == {"deploy": {"replicas": 2}}
    assert service("command: x", "command: ") == {"command": None}


def test_options_of_another_log_driver_do_not_count() -> None:
    assert service("logging: {driver: a, options: {x: '1'}}", "logging: {driver: b}") == {"logging": {"driver": "b"}}
    assert service("logging: {driver: a, options: {x: '1'}}", "logging: {options: {y: 2}}") == {
        "logging": {"driver": "a", "options": {"x": "1", "y": "2"}}
    }


def test_numbers_without_end_become_text() -> None:
    found = service("environment: {A: .inf, B: -.inf, C: 1e400, D: .nan, E: .NAN, F: +.Inf, G: .Nan}")["environment"]
    assert found == {"A": "+Inf", "B": "-Inf", "C": "1e400", "D": "NaN", "E": "NaN", "F": "+Inf", "G": ".Nan"}


@pytest.mark.parametrize("key", ["mem_limit: .nan", "cpus: .nan", "scale: .nan", "ports: [.nan]"])
def test_what_is_no_number_is_refused_where_one_is_needed(key: str) -> None:
    assert "'NaN'" in wrong(key)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_becomes_text(value: float) -> None:
    assert float(as_text(value)) == value
