"""Whatever a project has, a plan is made of it, or a ComposeError says why not."""

import json
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from shoal.cli.stack_plan import plan
from shoal.compose.errors import ComposeError
from tests.unit.compose.files import Memory, project

CASES = Path(__file__).parents[2] / "interop"
NOTHING: object = None
TOP: dict[str, dict[str, object]] = {
    "networks": dict.fromkeys(("front", "back", "one", "two", "n"), NOTHING),
    "volumes": dict.fromkeys(("data", "one", "two", "other", "named"), NOTHING),
    "secrets": {name: {"environment": "A"} for name in ("s", "one", "two", "alpha")},
    "configs": {name: {"content": "x"} for name in ("c", "one", "four", "cred")},
}


def _pairs() -> list[tuple[str, object]]:
    """Return the keys of services in all cases, each with the values that it has there."""
    found: dict[str, tuple[str, object]] = {}
    for path in sorted((CASES / "compose").glob("[!b]*.yaml")) + sorted((CASES / "stacks").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            for service in document["services"].values():
                for key, value in (service or {}).items():
                    found[json.dumps([key, value], default=str)] = (key, value)
    return [each for each in found.values() if each[0] not in ("extends", "env_file", "label_file")]


PAIRS = _pairs()
WRONG = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just({}), st.just([]), st.just([{}]))


@given(st.lists(st.sampled_from(PAIRS), max_size=12), st.sampled_from(PAIRS), WRONG)
def test_services_of_many_kinds(pairs: list[tuple[str, object]], other: tuple[str, object], wrong: object) -> None:
    keys = {"image": "a", **dict(pairs)}
    value = other[1]
    if isinstance(value, dict) and value:
        value = {**value, sorted(value)[0]: wrong}
    elif isinstance(value, list) and value:
        value = [wrong, *value]
    for each in (keys, {**keys, other[0]: value}):
        text = json.dumps({**TOP, "services": {"web": each}}, default=str)
        try:
            made = plan(project(text, A="x", THREE="3", PORT_OUTSIDE="80"), Memory({}))
            made.services({"secrets": _ids("secrets"), "configs": _ids("configs")})
        except ComposeError as error:
            told = str(error)
        else:
            told = "a plan"
        assert told


def _ids(section: str) -> dict[str, tuple[str, str]]:
    return {name: (f"p_{name}", "id") for name in TOP[section]}
