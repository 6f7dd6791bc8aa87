import pytest

from shoal.compose.errors import ComposeError
from tests.unit.compose.files import project


def test_a_service_begins_with_another_one() -> None:
    text = "services: {a: {image: x, environment: {A: '1'}}, b: {extends: a, environment: {B: '2'}}, c: {extends: b}}"
    assert project(text).services["c"].find("environment") == {"A": "1", "B": "2"}


def test_a_service_of_another_file_keeps_its_paths() -> None:
    files: dict[str, str | bytes] = {
        "sub/one.yaml": "services: {a: {image: x, volumes: ['./d:/d'], extends: {file: two.yaml, service: b}}}",
        "sub/two.yaml": "services: {b: {hostname: h, env_file: e.env}}",
        "sub/e.env": "E=1",
    }
    found = project("services: {w: {extends: {file: sub/one.yaml, service: a}}}", files=files).services["w"]
    assert found.find("volumes")[0]["source"] == "/project/sub/d"
    assert found.find("environment") == {"E": "1"}
    assert found.find("hostname") == "h"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("services: {a: {extends: b}, b: {extends: a}}", "services.a.extends: a service extends itself: a extends b"),
        ("services: {a: {extends: a}}", "a service extends itself: a extends a"),
        ("services: {a: {extends: z}}", "1:25: services.a.extends: there is no service z in /project/compose.yaml"),
        (
            "services: {a: {extends: {file: z.yaml, service: b}}}",
            "1:32: services.a.extends.file: /project/z.yaml cannot",
        ),
        ("services: {a: {extends: {file: o.yaml, service: b}}}", "services.b.extends: a service extends itself"),
    ],
)
def test_what_cannot_be_extended(text: str, error: str) -> None:
    other = "services: {b: {extends: {file: o.yaml, service: b}}}"
    with pytest.raises(ComposeError) as found:
        project(text, files={"o.yaml": other})
    assert error in str(found.value)


def test_long_chains_and_large_copies_are_refused() -> None:
    chain = ", ".join(f"s{n}: {{image: a, extends: s{n + 1}}}" for n in range(50))
    with pytest.raises(ComposeError, match="more than 32 services extend one another"):
        project(f"services: {{{chain}, s50: {{image: a}}}}")
    large = ", ".join(f"K{n}: v" for n in range(5000))
    many = ", ".join(f"s{n}: {{extends: base, environment: {{X: y}}}}" for n in range(100))
    with pytest.raises(ComposeError, match="extends: there are more than 200,000 values"):
        project(f"services: {{base: {{image: a, environment: {{{large}}}}}, {many}}}")
