import pytest

from shoal.api.reference import is_reference

DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "nginx",
        "nginx:1.25",
        "library/nginx",
        "a__b/c.d-e---f:V_1.x",
        "docker.io/library/nginx" + DIGEST,
        "localhost/x",
        "localhost:5000/x:y" + DIGEST,
        "[2001:db8::1]:5000/x",
        "Registry/x",  # a first part with upper-case letters can only be a host
        "1.2.3.4:80/x",
        "x:" + "t" * 128,
    ],
)
def test_names_of_images(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nginx",
        "nginx:",
        "nginx@",
        "nginx:x@sha256:00",
        "nginx@sha256:" + "A" * 64,
        "nginx@md5:" + "0" * 32,
        "-nginx",
        "ngi nx",
        "nginx\n",
        "a//b",
        "a/",
        "x:" + "t" * 129,
        "x/" + "a" * 255,
        "f" * 64,
        "../x",
        "http://x/y",
    ],
)
def test_what_names_no_image(text: str) -> None:
    assert not is_reference(text)
