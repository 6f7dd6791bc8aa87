import base64
import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent import executor
from shoal.api.gen.views_pb2 import NodeViews
from shoal.daemon.config import combine
from shoal.engine import platforms
from shoal.engine.codec import container_spec
from shoal.engine.network_views import other
from shoal.engine.requests import Filters, parse_json
from shoal.errors import InvalidArgument, ShoalError
from shoal.json_text import MOST_DEPTH, BadJson, NoNumber, TooDeep, decoded, read_json
from shoal.manager.certificates.external_ca import certificate_of
from shoal.network.wanted import Wanted, from_json
from shoal.node import peers, state
from shoal.runtime import archive, image_config, manifests, records
from shoal.runtime.image_types import parse_registry_auth
from shoal.store import backup_file, etcd_process

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=30
)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert read_json(json.dumps(value)) == value
    assert read_json(f" \r\n\t{json.dumps(value, ensure_ascii=False)}\n".encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"\xff",
        b'"\xff"',
        b"nul",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"[-1e999]",
        b"9" * 5_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 101 + b"]" * 101,
        b'{"a":[' * 60 + b"]}" * 60,
        b"[" * 900 + b"]" * 900,
    ],
    ids=lambda data: f"{data[:12]!r}",
)
def test_what_is_no_json_of_ours_is_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(BadJson) as caught:
        read_json(data)
    assert isinstance(caught.value, InvalidArgument)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 200


@given(st.binary(max_size=60) | st.text("[]{}\":,0e-\\u'", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = read_json(data)
    except BadJson:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def test_so_deep_is_read_and_no_deeper() -> None:
    assert read_json("[" * MOST_DEPTH + "]" * MOST_DEPTH)
    for text in (
        "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1),
        '[0, {"a": ' + "[" * MOST_DEPTH + "]" * MOST_DEPTH + "}]",
    ):
        with pytest.raises(TooDeep):
            read_json(text)
    assert len(read_json("[" + "[]," * 10_000 + "[]]")) == 10_001  # many, but not deep


def test_sizes_are_bounded_before_anything_is_read() -> None:
    with pytest.raises(BadJson, match="more than 10 bytes"):
        read_json(b" " * 11, most_bytes=10)
    with pytest.raises(BadJson, match="more than 5 values"):
        read_json("[0,0,0,0,0,0,0", most_values=5)
    assert read_json("[0,[0],{}]", most_values=5) == [0, [0], {}]


def test_half_a_pair_is_replaced_as_go_does_and_a_whole_one_is_a_character() -> None:
    assert read_json(rb'["\ud800", {"\udfff": "\ud83d\ude00"}]') == ["\ufffd", {"\ufffd": "\U0001f600"}]
    assert read_json('"\udc80"') == "\ufffd"
    assert read_json(rb'"\udc80"', halves=True) == "\udc80"


def test_a_word_of_pythons_is_told() -> None:
    with pytest.raises(NoNumber) as caught:
        read_json("[-Infinity]")
    assert caught.value.word == "-Infinity"


def test_the_rest_is_told() -> None:
    assert decoded('{"a": 1} and more') == ({"a": 1}, " and more")
    with pytest.raises(json.JSONDecodeError):
        decoded("and more")


HOSTILE = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 900 + b"]" * 900,
    b"9" * 5_000,
    b"[" + b"9" * 5_000 + b"]",
    b"1e999",
    b"NaN",
    b"\xff",
    b"",
    b"[]",
    b"{}",
    b"null",
    b'{"a": "\\ud800"}',
]


def in_folder(load: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    def read_file(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(data)
            return load(Path(folder))

    return read_file


def of_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


DOORS: dict[str, Callable[[bytes], object]] = {
    "a request's body": parse_json,
    "a request's filters": of_text(Filters.parse),
    "a platform": of_text(lambda text: platforms._architecture(text, "amd64")),
    "registry credentials": lambda data: parse_registry_auth(base64.urlsafe_b64encode(data).decode()),
    "options of a tmpfs, on a node": of_text(executor._tmpfs_options),
    "options of a tmpfs, in the API": of_text(container_spec.TmpfsOptionList().encode),
    "another node's views": lambda data: other(NodeViews(views=data), {"id": "name"}),
    "the managers that a node knows": in_folder(peers.load, peers.FILE),
    "a node's state": in_folder(state.load, state.FILE),
    "the daemon's configuration": of_text(lambda text: combine({}, text, "daemon.json")),
    "a container's record": in_folder(records.read_config, records.CONFIG),
    "an image's manifest": manifests.parse,
    "an image's platform": manifests.config_platform,
    "an image's config": image_config.parse,
    "an image archive": in_folder(archive.read, "manifest.json"),
    "an image layout": in_folder(archive.read, "index.json"),
    "an external CA's answer": lambda data: certificate_of(200, data),
    "a line of etcd's log": etcd_process._parsed,
    "a backup": backup_file._about,
    "values of the network process": lambda data: from_json(Wanted, data),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: f"{data[:8]!r}")
def test_every_door_has_an_error_of_ours_for_what_is_hostile(door: str, data: bytes) -> None:
    with contextlib.suppress(ShoalError):
        DOORS[door](data)
