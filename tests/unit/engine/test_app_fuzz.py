"""Anything sent to the calls about this host is answered as by Docker, and never with an internal error."""

import json
import logging
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import MultiDict

from shoal.engine import containers, exec, images, system, volumes  # noqa: A004
from shoal.engine.errors import INTERNAL_ERROR
from shoal.runtime.types import ExecConfig, Phase, Volume
from tests.unit.engine.fakes import client
from tests.unit.engine.host_fakes import (
    FakeContainers,
    FakeExecs,
    FakeImages,
    FakeProcess,
    FakeVolumes,
    container,
    host,
    image,
)

ROUTES = [(method, path) for module in (containers, exec, images, volumes, system) for method, path, _ in module.ROUTES]
NAMES = [
    "all", "before", "changes", "condition", "detachKeys", "dangling", "details", "filters", "follow", "force",
    "fromImage", "fromSrc", "h", "limit", "link", "logs", "message", "noprune", "one-shot", "platform",
    "platforms", "ps_args", "quiet", "repo", "signal", "since", "size", "stderr", "stdin", "stdout", "stream",
    "tag", "tail", "timestamps", "type", "until", "v", "w", "t",
]  # fmt: skip
FIELDS = [
    "AttachStderr", "AttachStdin", "AttachStdout", "ClusterVolumeSpec", "Cmd", "ConsoleSize", "Detach",
    "DetachKeys", "Driver", "DriverOpts", "Env", "Labels", "Name", "Privileged", "Tty", "User", "WorkingDir",
]  # fmt: skip
KEYS = [
    "all", "ancestor", "before", "dangling", "driver", "exited", "expose", "health", "id", "is-task", "isolation",
    "label", "label!", "name", "network", "publish", "reference", "since", "status", "until", "volume",
]  # fmt: skip

words = st.text(max_size=12) | st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "true",
        "false",
        "web.1",
        "busybox",
        "data",
        "1h",
        "2024-01-01",
        "[",
        "*",
        "\\",
        "²",
        "ctrl-p",
        "\ud800",
    ]
)
numbers = st.integers() | st.floats() | st.integers(0, 3)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
filter_values = st.dictionaries(words, st.booleans(), max_size=3) | st.lists(words, max_size=3) | values
filters = st.dictionaries(st.sampled_from(KEYS) | words, filter_values, max_size=3).map(json.dumps) | words
queries = st.lists(
    st.tuples(st.sampled_from(NAMES), words | st.integers().map(str)) | st.tuples(st.just("filters"), filters),
    max_size=5,
)
bodies = st.dictionaries(st.sampled_from(FIELDS), values, max_size=5).map(json.dumps) | values.map(json.dumps) | words
refs = st.sampled_from(["web.1", "old", "EXEC", "busybox", "data", "7765"]) | st.text(min_size=1, max_size=8)
calls = st.tuples(st.sampled_from(ROUTES), refs, queries, bodies, st.sampled_from(["", "/v1.24", "/v1.41", "/v1.50"]))


def whole_host() -> Any:
    rows = FakeContainers(container(labels={"a": "1"}), container("old", Phase.EXITED))
    process = FakeProcess()
    process.end()
    execs = FakeExecs(rows, process)
    execs.rows["EXEC"] = execs.get(execs.create("web.1", ExecConfig(("ls",))))
    return host(
        rows=rows,
        execs=execs,
        images=FakeImages(image("busybox:latest")),
        volumes=FakeVolumes(Volume("data", "/nowhere", 1.0)),
    )


def path_of(template: str, ref: str) -> str:
    """Return the path with a value in place of its parameters. Values that are not valid text are sent as bytes."""
    quoted = quote(ref.encode("utf-8", "surrogatepass"), safe="") or "x"
    return template.replace("{id}", quoted).replace("{name}", quoted).replace("{name:.*}", quoted)


async def check(api: Any, call: Any) -> None:
    (method, template), ref, query, body, version = call
    pairs = [(key, value.encode("utf-8", "replace").decode()) for key, value in query]
    if template.endswith("/stats"):
        pairs += [("one-shot", "1")]
        pairs = [
            ("stream", "0"),
            *((key, value) for key, value in pairs if key not in ("stream", "one-shot")),
            ("one-shot", "1"),
        ]
    pairs = [pair for pair in pairs if not (template.endswith("/wait") and pair[0] == "condition")]
    if template.endswith("/logs"):
        pairs = [pair for pair in pairs if pair[0] != "follow"]
    data = None if method in ("GET", "HEAD") else body.encode("utf-8", "replace")
    headers = {"Content-Type": "application/json"} if data else {}
    answer = await api.request(
        method,
        version + path_of(template, ref),
        params=MultiDict(pairs),
        data=data,
        headers=headers,
        allow_redirects=False,
    )
    try:
        assert answer.status < 500 or answer.status in (500, 501, 503)
        if answer.status >= 400 and method != "HEAD":
            message = (await answer.json())["message"]
            assert message
            assert message != INTERNAL_ERROR
            # Docker answers these with 500, too, so they are no internal errors.
            assert answer.status != 500 or "is not allowed" in message or "exit event" in message
    finally:
        answer.close()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(asked=st.lists(calls, min_size=1, max_size=8))
async def test_any_request_is_answered(asked: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with client(whole_host()) as api:
            for call in asked:
                await check(api, call)
    assert not [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"1e999", b"9" * 5000, b"[" * 10_000, b'{"Cmd": ["\\ud800"]}', b"\xff"]
)
async def test_any_bytes_for_json_are_answered(body: bytes) -> None:
    async with client(whole_host()) as api:
        for path in ("/containers/web.1/exec", "/exec/EXEC/start", "/volumes/create"):
            answer = await api.post(path, data=body, headers={"Content-Type": "application/json"})
            assert answer.status in (101, 200, 201, 400)
            answer.close()
