import base64
import json
from pathlib import Path
from typing import Any

import pytest

from shoal.cli.errors import CommandError
from shoal.cli.hosts import Target
from shoal.cli.stack_api import StackApi
from shoal.cli.stack_images import AUTH_HEADER, auth_headers, settle_image, tagged
from shoal.cli.stack_options import Resolve
from tests.harness.recorder import recorder

LABEL = "com.docker.stack.image"


def spec(image: str) -> dict[str, Any]:
    return {"Labels": {LABEL: image}, "TaskTemplate": {"ContainerSpec": {"Image": image}}}


def test_an_image_without_a_tag_is_latest() -> None:
    assert [tagged(each) for each in ("a", "a:1", "h:5000/a", "a@sha256:0")] == [
        *("a:latest", "a:1", "h:5000/a:latest", "a@sha256:0"),
    ]


def test_what_runs_stays_where_the_registry_is_not_asked_or_does_not_answer(tmp_path: Path) -> None:
    running = {"Spec": {**spec("a:1"), "TaskTemplate": {"ContainerSpec": {"Image": "a:1@sha256:0"}}}}
    running["Spec"]["TaskTemplate"]["Placement"] = {"Platforms": [{"OS": "linux"}]}
    with recorder(tmp_path) as (url, _):
        api = StackApi(Target(url, socket=url.removeprefix("unix://")))
        for resolve in Resolve:
            new = spec("a:1")
            warning = settle_image(api, new, running, resolve, {})
            assert new["TaskTemplate"]["ContainerSpec"]["Image"] == "a:1@sha256:0"
            assert new["TaskTemplate"]["Placement"]["Platforms"] == [{"OS": "linux"}]
            assert (warning is not None) == (resolve is Resolve.ALWAYS)
        new = spec("b")
        assert "could not be asked for" in str(settle_image(api, new, running, Resolve.ALWAYS, {}))
        assert new["TaskTemplate"]["ContainerSpec"]["Image"] == "b:latest"


def test_what_docker_login_left_is_sent(tmp_path: Path) -> None:
    environment = {"DOCKER_CONFIG": str(tmp_path)}

    def sent(image: str) -> Any:
        return json.loads(base64.urlsafe_b64decode(auth_headers(image, environment)[AUTH_HEADER]))

    assert sent("a") == {}
    auths = {"r.example:5000": {"auth": base64.b64encode(b"me:secret").decode()}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    assert sent("r.example:5000/a") == {"username": "me", "password": "secret", "serveraddress": "r.example:5000"}
    assert sent("library/a") == {}
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "pass"}))
    with pytest.raises(CommandError, match="is kept by another program"):
        sent("a")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CommandError, match="cannot be read"):
        sent("a")
