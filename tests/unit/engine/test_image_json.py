from typing import Any

import pytest

from shoal.engine import image_json
from shoal.runtime.image_types import DistributionInspect, Platform, Progress, Removed
from tests.unit.engine.host_fakes import IMAGE_ID, image

HISTORY = {
    "history": [
        {"created": "2024-01-01T00:00:00Z", "created_by": "ADD rootfs", "comment": "first"},
        {"created": "not a time", "created_by": "CMD sh", "comment": "last", "empty_layer": True},
    ]
}


def test_list_shows_what_older_versions_had() -> None:
    row = image()
    new = image_json.listed(row, ((), ()), 50)
    assert (new["RepoTags"], new["RepoDigests"], new["Labels"]) == ([], [], None)
    assert "VirtualSize" not in new
    assert image_json.listed(row, ((), ()), 43)["VirtualSize"] == 1000
    old = image_json.listed(row, ((), ()), 42)
    assert (old["RepoTags"], old["RepoDigests"]) == (["<none>:<none>"], ["<none>@<none>"])
    assert image_json.listed(row, (["a:1"], ()), 42)["RepoTags"] == ["a:1"]


@pytest.mark.parametrize(
    ("api", "there", "absent"),
    [
        (50, {"Id", "RootFS", "GraphDriver", "Metadata"}, {"VirtualSize", "Container", "Created"}),
        (44, {"Container", "ContainerConfig"}, {"VirtualSize", "Created"}),
        (43, {"VirtualSize", "Created"}, set()),
    ],
)
def test_inspect_shows_what_each_version_had(api: int, there: set[str], absent: set[str]) -> None:
    shown = image_json.inspect(image("a:1"), api, driver="overlayfs")
    assert there <= set(shown)
    assert not absent & set(shown)


def test_inspect_tells_configuration_and_origin() -> None:
    config = {"created": "2024-01-01T00:00:00Z", "variant": "v8", "author": "me", **HISTORY}
    shown = image_json.inspect(image("a:1", inner={"Cmd": ["sh"]}, config=config), 50, driver="overlayfs")
    assert shown["Config"] == {
        "Cmd": ["sh"],
        "Entrypoint": None,
        "Env": None,
        "Labels": None,
        "OnBuild": None,
        "User": "",
        "Volumes": None,
        "WorkingDir": "",
    }
    assert (shown["Created"], shown["Variant"], shown["Author"]) == ("2024-01-01T00:00:00Z", "v8", "me")
    assert shown["Comment"] == "last"
    assert image_json.inspect(image(), 49, driver="x")["Config"]["Hostname"] == ""


def test_history_is_newest_first() -> None:
    rows = image_json.history(image("a:1", config=HISTORY))
    assert [(row["Id"], row["Created"], row["CreatedBy"], row["Tags"], row["Size"]) for row in rows] == [
        (IMAGE_ID, 500, "CMD sh", ["a:1"], 1000),
        ("<missing>", 1704067200, "ADD rootfs", None, 0),
    ]
    assert image_json.history(image()) == []


@pytest.mark.parametrize("config", [{"history": "x"}, {"history": [1, None]}, {"history": [{"created": 5}]}])
def test_damaged_history_is_no_failure(config: Any) -> None:
    image_json.history(image(config=config))
    image_json.inspect(image(config=config), 50, driver="x")


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(stream="Loaded image: a:1\n"), {"stream": "Loaded image: a:1\n"}),
        (Progress(status="Pulling", id="abc"), {"status": "Pulling", "progressDetail": {}, "id": "abc"}),
        (
            Progress(status="Downloading", id="abc", current=1, total=2),
            {"status": "Downloading", "progressDetail": {"current": 1, "total": 2}, "id": "abc"},
        ),
        (Progress(status="Digest: sha256:x"), {"status": "Digest: sha256:x"}),
    ],
)
def test_progress_lines(progress: Progress, line: dict[str, Any]) -> None:
    assert image_json.progress_line(progress) == line


def test_removals_and_errors() -> None:
    assert image_json.removal(Removed(untagged="a:1")) == {"Untagged": "a:1"}
    assert image_json.removal(Removed(deleted="sha256:x")) == {"Deleted": "sha256:x"}
    assert image_json.error_line("no") == {"errorDetail": {"message": "no"}, "error": "no"}


def test_distribution_shows_platforms() -> None:
    found = DistributionInspect(
        "sha256:d", "type", 7, (Platform("linux", "arm", "v7"), Platform("windows", "amd64", "", "10", ("x",)))
    )
    assert image_json.distribution(found) == {
        "Descriptor": {"mediaType": "type", "digest": "sha256:d", "size": 7},
        "Platforms": [
            {"architecture": "arm", "os": "linux", "variant": "v7"},
            {"architecture": "amd64", "os": "windows", "os.version": "10", "os.features": ["x"]},
        ],
    }
