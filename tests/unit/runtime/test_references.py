"""Image references in full and in familiar form."""

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime import references

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("team/app", "docker.io/team/app", "team/app"),
        ("library/team/app", "docker.io/library/team/app", "library/team/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("Registry/app", "Registry/app", "Registry/app"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}", f"app:1@{DIGEST}"),
    ],
)
def test_references_are_normalized(text: str, full: str, familiar: str) -> None:
    reference = references.parse(text)
    assert (reference.full, reference.familiar) == (full, familiar)


@pytest.mark.parametrize(
    "text", ["", "a:", "a@", "a:b:c", "-a", "a//b", "a b", "a@sha256:12", "http://x/y", "a:" + "t" * 129]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        references.parse(text)


def test_docker_says_why() -> None:
    with pytest.raises(InvalidArgument, match=r"repository name \(library/App\) must be lowercase"):
        references.parse("App")
    with pytest.raises(InvalidArgument, match="cannot specify 64-byte hexadecimal strings"):
        references.parse("a" * 64)


def test_a_digest_outweighs_a_tag_at_the_registry() -> None:
    assert references.parse(f"app:1@{DIGEST}").remote == f"docker.io/library/app@{DIGEST}"
    assert references.parse("app").remote == "docker.io/library/app:latest"


def test_the_default_tag_is_added_where_nothing_is_said() -> None:
    assert references.parse("app").tagged().familiar == "app:latest"
    assert references.parse(f"app@{DIGEST}").tagged().tag == ""


@pytest.mark.parametrize(
    ("domain", "loopback"),
    [
        ("127.0.0.1:5000", True),
        ("127.1.2.3", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("128.0.0.1", False),
        ("127.0.0.1.example.org", False),
        ("docker.io", False),
    ],
)
def test_registries_of_this_host_are_known(domain: str, loopback: bool) -> None:
    assert references.is_loopback(domain) is loopback
