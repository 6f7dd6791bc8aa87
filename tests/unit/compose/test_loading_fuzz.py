"""Whatever stands in a file, loading it gives a project or a ComposeError, and nothing else."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shoal.compose.errors import ComposeError
from shoal.compose.keys import FILE
from shoal.compose.service_keys import SERVICE
from tests.unit.compose.files import project

CASES = Path(__file__).parents[2] / "interop" / "compose"
WHOLE = [
    path.read_bytes()
    for path in sorted(CASES.rglob("*.yaml"))
    if not any(word in path.read_bytes() for word in (b"include", b"file:", b"_file"))
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70000),
    st.floats(),
    st.sampled_from(["", "a", "80:80", "./x:/y:ro", "1m", "64m", "default", "${A:-b}", "${", "a=b", "a:1.1.1.1", "!"]),
    st.text(max_size=8),
)
KEYS = st.sampled_from([*SERVICE.keys, *FILE.keys, "x-a", "target", "source", "type", "a", "test", "soft", "name"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def load(*texts: str, files: dict[str, str | bytes] | None = None) -> None:
    try:
        json.dumps(project(*texts, files=files, A="x").canonical())
    except ComposeError as error:
        named = error.place.file
    else:
        named = "a project"
    assert named


@given(st.dictionaries(st.sampled_from([*SERVICE.keys]), VALUES, max_size=4), VALUES)
def test_services_of_anything(keys: dict[str, object], more: object) -> None:
    text = json.dumps({"services": {"web": {"image": "a", **keys}, "other": more}})
    load(text, text)


@given(st.dictionaries(st.sampled_from([*FILE.keys]), VALUES, max_size=4), VALUES)
def test_files_of_anything(one: dict[str, object], more: object) -> None:
    load(json.dumps(one), json.dumps({"services": more}))


@given(st.sampled_from(WHOLE), st.integers(0), st.binary(max_size=3), st.integers(0, 4))
def test_files_with_some_bytes_changed(content: bytes, at: int, other: bytes, gone: int) -> None:
    at %= len(content) + 1
    changed = content[:at] + other + content[at + gone :]
    try:
        load("include: [f.yaml]", files={"f.yaml": changed})
    except UnicodeDecodeError as error:
        raise AssertionError from error


@given(st.binary(max_size=60))
def test_any_bytes(content: bytes) -> None:
    load("include: [f.yaml]", files={"f.yaml": content})


@given(st.text(alphabet="a:-[]{}&*!<>|?,#'\" \n", max_size=40))
def test_any_yaml(text: str) -> None:
    load(text)
