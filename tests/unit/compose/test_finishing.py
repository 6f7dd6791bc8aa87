import pytest

from shoal.compose.errors import ComposeError
from tests.unit.compose.files import project


def test_services_of_profiles_run_where_these_are_active() -> None:
    text = "services: {a: {image: a}, b: {image: b, profiles: [x]}}"
    assert set(project(text).services) == {"a"}
    assert set(project(text).disabled) == {"b"}
    assert set(project(text, COMPOSE_PROFILES="y,x").services) == {"a", "b"}


def test_the_default_network_is_there_where_it_is_used() -> None:
    assert set(project("services: {a: {image: a, networks: [n]}}\nnetworks: {n: }").networks) == {"n"}
    assert set(project("services: {a: {image: a, network_mode: host}}").networks) == set()
    assert set(project("services: {a: {image: a, networks: []}}").networks) == {"default"}


def test_variables_come_from_the_service_its_files_and_the_surroundings() -> None:
    text = (
        "services: {a: {image: a, env_file: [e.env, {path: none.env, required: false}], environment: [A=own, OUT, NO]}}"
    )
    found = project(text, files={"e.env": "A=file\nB='q'\nC=${OUT}"}, OUT="out")
    assert found.services["a"].find("environment") == {"A": "own", "B": "q", "C": "out", "OUT": "out", "NO": None}


def test_a_missing_file_of_variables_is_told_where_it_is_named() -> None:
    with pytest.raises(
        ComposeError, match=r"compose.yaml:1:36: services.a.env_file\[0\]: /project/e.env cannot be read"
    ):
        project("services: {a: {image: a, env_file: e.env}}")


def test_many_variables_in_many_services_are_refused() -> None:
    services = ", ".join(f"s{n}: {{image: a, env_file: e.env}}" for n in range(40))
    with pytest.raises(ComposeError, match="env_file: there are more than 200,000 values"):
        project(f"services: {{{services}}}", files={"e.env": "".join(f"A{n}=b\n" for n in range(6000))})


def test_labels_come_from_files_too() -> None:
    found = project("services: {a: {image: a, label_file: l, labels: {x: own}}}", files={"l": "x=file\ny=2"})
    assert found.services["a"].find("labels") == {"x": "own", "y": "2"}
