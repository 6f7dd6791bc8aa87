from dataclasses import replace

import pytest

from shoal.cli.stack_plan import digest, named_by_content, plan
from shoal.compose.errors import ComposeError
from tests.unit.compose.files import Memory, project

TEXT = "services: {w: {image: a, secrets: [s], privileged: true}}\nsecrets: {s: {file: f}}"


def test_all_that_is_wrong_is_found_before_anything_is_made() -> None:
    made = plan(project(TEXT), Memory({"f": "x"}))
    assert (list(made.networks), [each.key for each in made.warnings]) == (["p_default"], ["services.w.privileged"])
    with pytest.raises(ComposeError, match="cannot be read"):
        plan(project(TEXT), Memory({}))
    with pytest.raises(ComposeError, match="Swarm publishes one port"):
        plan(project("services: {w: {image: a, ports: ['1-5:80']}}"), Memory({}))


def test_a_digest_is_of_the_name_and_the_content() -> None:
    (one,) = plan(project(TEXT), Memory({"f": "x"})).contents["secrets"]
    assert digest(one) == digest(replace(one))
    assert len({digest(one), digest(replace(one, data=b"y")), digest(replace(one, name="other"))}) == 3


def test_a_name_by_content_has_room() -> None:
    assert named_by_content("s_a", "0123456789abcdef") == "s_a-0123456789abcdef"
    assert len(named_by_content("n" * 64, "0123456789abcdef")) == 64
