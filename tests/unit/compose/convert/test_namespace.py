import pytest

from shoal.compose.convert.namespace import check_names, labelled, scoped
from shoal.compose.errors import ComposeError
from tests.unit.compose.files import project

LONG = "n" * 62


def test_what_belongs_to_a_stack_says_so() -> None:
    assert labelled("s", {"a": "b"}) == {"a": "b", "com.docker.stack.namespace": "s"}
    assert labelled("s", None) == {"com.docker.stack.namespace": "s"}
    assert scoped("s", "web") == "s_web"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            f"services: {{{LONG}: {{image: a}}}}",
            f"1:12: services.{LONG}: the service would be called p_{LONG}, which has 64",
        ),
        ("services: {web.x: {image: a}}", "services.web.x: the service would be called p_web.x: letters"),
        (
            "services: {w: {image: a}}\nsecrets: {s: {file: f, name: -x}}",
            "2:24: secrets.s: the secret would be called -x",
        ),
        (
            f"services: {{w: {{image: a}}}}\nconfigs: {{{LONG}x: {{content: f}}}}",
            "which has 65 letters, and may have 64",
        ),
        (f"services: {{w: {{image: a, networks: [{LONG}]}}}}\nnetworks: {{{LONG}: }}", "the network would be called"),
    ],
)
def test_names_too_long_behind_the_stacks_are_refused_before_anything_is_made(text: str, error: str) -> None:
    with pytest.raises(ComposeError) as found:
        check_names(project(text))
    assert error in str(found.value)
