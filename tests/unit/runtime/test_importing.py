"""`docker import --change`."""

import json
from typing import Any

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.importing import apply_change, image_config


def changed(*changes: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for change in changes:
        apply_change(config, change)
    return config


@pytest.mark.parametrize(
    ("changes", "config"),
    [
        (['CMD ["sh", "-c", "x"]'], {"Cmd": ["sh", "-c", "x"]}),
        (["CMD echo hi"], {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        (['entrypoint ["a"]'], {"Entrypoint": ["a"]}),
        (["ENV A=1 B='x y'", "ENV A=2"], {"Env": ["A=2", "B=x y"]}),
        (["ENV A some words"], {"Env": ["A=some words"]}),
        (['LABEL a=1 b.c="d e"'], {"Labels": {"a": "1", "b.c": "d e"}}),
        (
            ["EXPOSE 80 53/udp 8000-8001"],
            {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}},
        ),
        (["USER nobody"], {"User": "nobody"}),
        (["VOLUME /a /b", 'VOLUME ["/c"]'], {"Volumes": {"/a": {}, "/b": {}, "/c": {}}}),
        (["WORKDIR /a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
        (["STOPSIGNAL SIGINT"], {"StopSignal": "SIGINT"}),
        (["ONBUILD RUN x"], {"OnBuild": ["RUN x"]}),
        (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["HEALTHCHECK --interval=1m30s --retries=2 CMD curl x"],
            {"Healthcheck": {"Interval": 90_000_000_000, "Retries": 2, "Test": ["CMD-SHELL", "curl x"]}},
        ),
        (['HEALTHCHECK CMD ["a"]'], {"Healthcheck": {"Test": ["CMD", "a"]}}),
        (["  "], {}),
    ],
)
def test_instructions_change_the_config(changes: list[str], config: dict[str, Any]) -> None:
    assert changed(*changes) == config


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("RUN x", "run is not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", "can't find = in 'B'"),
        ("ENV A='x", "No closing quotation"),
        ("EXPOSE x", "invalid containerPort"),
        ("EXPOSE 70000", "invalid containerPort"),
        ("EXPOSE \u00b2", "invalid containerPort"),
        ("EXPOSE " + "9" * 5000, "invalid containerPort"),
        ("HEALTHCHECK --retries=" + "9" * 5000 + " CMD x", "invalid"),
        ("HEALTHCHECK --retries=\u00b2 CMD x", "invalid"),
        ("HEALTHCHECK --interval=" + "9" * 400 + "h CMD x", "invalid duration"),
        ("EXPOSE 80/icmp", "invalid proto"),
        ("HEALTHCHECK --interval=x CMD a", "invalid duration"),
        ("HEALTHCHECK --what=1s CMD a", "unknown flag: --what"),
        ("HEALTHCHECK CMD", "Unknown type"),
    ],
)
def test_a_malformed_instruction_is_refused(change: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        changed(change)


def test_the_config_has_the_one_layer() -> None:
    fields = json.loads(image_config("sha256:" + "a" * 64, "2026-01-01T00:00:00Z", "why", ["USER x"]))
    assert fields["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + "a" * 64]}
    assert (fields["config"], fields["comment"], fields["os"]) == ({"User": "x"}, "why", "linux")
