"""An image with a config field of a wrong type is refused in Go's words. Images that are here already are shown
anyway.
"""

import json
from typing import Any

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.image_config import WrongType, archive_items, lenient, parse

STRINGS = ("Hostname", "Domainname", "User", "Image", "WorkingDir", "MacAddress", "StopSignal")
BOOLS = ("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "ArgsEscaped")
LISTS = ("Env", "OnBuild", "Cmd", "Entrypoint", "Shell")
MAPS = ("Labels", "Volumes", "ExposedPorts", "Healthcheck")


def image(config: Any = None, **fields: Any) -> bytes:
    return json.dumps({"config": config, "rootfs": {"diff_ids": []}, **fields}).encode()


def why(data: bytes) -> str:
    with pytest.raises(InvalidArgument) as raised:
        parse(data)
    return str(raised.value)


@pytest.mark.parametrize("value", [["a"], {"a": "b"}, 1, 1.5, True])
@pytest.mark.parametrize("name", STRINGS)
def test_text_is_text(name: str, value: Any) -> None:
    assert why(image({name: value})).endswith(f"into Go struct field Config.config.{name} of type string")


@pytest.mark.parametrize("value", [["a"], {"a": "b"}, 1, "true"])
@pytest.mark.parametrize("name", BOOLS)
def test_a_flag_is_a_flag(name: str, value: Any) -> None:
    assert why(image({name: value})).endswith(f"into Go struct field Config.config.{name} of type bool")


@pytest.mark.parametrize("value", [{"a": "b"}, 1, True])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_a_list_of_texts(name: str, value: Any) -> None:
    assert why(image({name: value})).endswith(f"into Go struct field Config.config.{name} of type []string")
    assert why(image({name: ["a", value]})).endswith(f"into Go struct field Config.config.{name} of type string")


@pytest.mark.parametrize("value", [["a"], "a", 1, True])
@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_a_map(name: str, value: Any) -> None:
    assert f"into Go struct field Config.config.{name} of type " in why(image({name: value}))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[]", "json: cannot unmarshal array into Go value of type image.Image"),
        (image([]), "json: cannot unmarshal array into Go struct field Image.config of type container.Config"),
        (
            image({"Labels": {"a": 1}}),
            "json: cannot unmarshal number into Go struct field Config.config.Labels of type string",
        ),
        (
            image({"Volumes": {"/a": []}}),
            "json: cannot unmarshal array into Go struct field Config.config.Volumes of type struct {}",
        ),
        (
            image({"Healthcheck": {"Interval": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field HealthConfig.config.Healthcheck.Interval "
            "of type time.Duration",
        ),
        (
            image({"StopTimeout": 1 << 64}),
            "json: cannot unmarshal number out of range into Go struct field Config.config.StopTimeout of type int",
        ),
        (image({"labels": []}), "json: cannot unmarshal array into Go struct field Config.config.Labels of type "
         "map[string]string"),
        (image(os=["linux"]), "json: cannot unmarshal array into Go struct field Image.os of type string"),
        (image(history={}), "json: cannot unmarshal object into Go struct field Image.history of type []image.History"),
        (
            image(history=[{"empty_layer": "no"}]),
            "json: cannot unmarshal string into Go struct field History.history.empty_layer of type bool",
        ),
        (image(created=7), "Time.UnmarshalJSON: input is not a JSON string"),
        (image(created="soon"), 'parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse it'),
        (b"{}", "invalid image JSON, no RootFS key"),
        (image(rootfs={"diff_ids": ["sha256:../x"]}), "invalid image config: rootfs.diff_ids are not digests"),
        (image(rootfs=1), "json: cannot unmarshal number into Go struct field Image.rootfs of type image.RootFS"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_as_docker_says_it(data: bytes, words: str) -> None:
    assert why(data) == words


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b" " * (9 << 20)])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    assert why(data).startswith(("invalid image config: ", "json: cannot unmarshal"))


def test_what_docker_takes_is_taken() -> None:
    config, layers = parse(
        image(
            {"Cmd": "one word", "Env": [None, "A=1"], "Labels": {"a": None, "b": "\ud800"}, "User": None, "x": [1]},
            architecture="amd64",
            author=None,
        )
    )
    assert config == {
        "config": {"Cmd": ["one word"], "Env": ["", "A=1"], "Labels": {"a": "", "b": "\ufffd"}},
        "rootfs": {"diff_ids": []},
        "architecture": "amd64",
    }
    assert layers == ()


def test_of_an_image_that_is_here_what_is_right_is_read() -> None:
    bad = image({"Labels": ["a"], "Healthcheck": {"Test": ["CMD", "x"], "Retries": "3"}, "Env": [1]}, os=1, history=[1])
    config, _ = lenient(bad.decode())
    assert config == {"config": {"Healthcheck": {"Test": ["CMD", "x"]}}, "rootfs": {"diff_ids": []}}


def test_the_list_of_an_archive_has_types_too() -> None:
    assert archive_items([{"Config": "c", "Layers": None, "Parent": 1}]) == [{"Config": "c"}]
    with pytest.raises(WrongType, match=r"Go value of type \[\]tarexport.manifestItem"):
        archive_items({})
    with pytest.raises(WrongType, match=r"Go struct field manifestItem.RepoTags of type \[\]string"):
        archive_items([{"RepoTags": "ab"}])
