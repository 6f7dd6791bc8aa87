"""skopeo's errors, in Docker's words. tests/cluster/test_registry_pull.py uses a real registry."""

import pytest

from shoal.errors import NotFound, ShoalError, Unauthenticated
from shoal.runtime import references
from shoal.runtime.registry import explain

PARSING = 'Error parsing image name "docker://r:1/app:2": '
READING = PARSING + "reading manifest 2 in r:1/app: "
DENIED = "pull access denied for r:1/app, repository does not exist or may require 'docker login': "


def complaint(words: str) -> bytes:
    escaped = words.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'time="2026-01-01T00:00:00Z" level=fatal msg="{escaped}"\n'.encode()


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (
            READING + "manifest unknown: manifest unknown",
            NotFound,
            "manifest for r:1/app:2 not found: manifest unknown: manifest unknown",
        ),
        (
            "initializing source docker://r:1/app:2: reading manifest 2 in r:1/app: errors:\n"
            "denied: requested access to the resource is denied\nunauthorized: authentication required\n",
            NotFound,
            DENIED + "denied: requested access to the resource is denied",
        ),
        (
            READING + "unauthorized: authentication required",
            Unauthenticated,
            DENIED + "unauthorized: authentication required",
        ),
        (  # skopeo of Debian 13 leaves out the registry's code, which Docker shows
            READING + "authentication required",
            Unauthenticated,
            DENIED + "unauthorized: authentication required",
        ),
        (
            PARSING + 'pinging container registry r:1: Get "http://r:1/v2/": dial tcp 127.0.0.1:1: connect: refused',
            ShoalError,
            'Get "http://r:1/v2/": dial tcp 127.0.0.1:1: connect: refused',
        ),
        (
            "writing blob: storing blob to file: write /x: no space left on device",
            ShoalError,
            "storing blob to file: write /x: no space left on device",
        ),
    ],
)
def test_complaints_are_told_as_docker_tells_them(words: str, kind: type[ShoalError], text: str) -> None:
    error = explain(references.parse("r:1/app:2"), complaint(words))
    assert type(error) is kind
    assert str(error) == text


def test_what_is_no_log_line_is_told_as_it_is() -> None:
    assert str(explain(references.parse("a"), b"fork failed\n")) == "fork failed"
    assert str(explain(references.parse("a"), b"")) == "skopeo gave no reason"
