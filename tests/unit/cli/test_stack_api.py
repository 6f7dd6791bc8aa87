from pathlib import Path

import pytest

from shoal.cli.errors import CommandError
from shoal.cli.hosts import Target
from shoal.cli.stack_api import StackApi, identity_of, labels_of, name_of, version_of
from tests.harness import recorder as recorders
from tests.harness.recorder import recorder


def test_objects_are_made_found_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recorder(tmp_path) as (url, made):
        api = StackApi(Target(url, socket=url.removeprefix("unix://")))
        api.check_manager()
        labels = {"com.docker.stack.namespace": "s"}
        for name in ("s_b", "s_a"):
            api.send("/services/create", {"Name": name, "Labels": labels})
        api.send("/networks/create", {"Name": "s_n", "Labels": labels})
        services = api.of_stack("services", "s")
        assert [name_of(each) for each in services] == ["s_a", "s_b"]
        assert (identity_of(services[0]), labels_of(services[0]), version_of(services[0])) == (
            "services-s_a",
            labels,
            "1",
        )
        assert [name_of(each) for each in api.of_stack("networks", "s")] == ["s_n"]
        assert api.of_stack("services", "other") == []
        assert api.found("/services/none") is None
        api.remove("services", "services-s_a")
        assert set(made.made["services"]) == {"s_b"}
        monkeypatch.setattr(recorders, "_INFO", {"Swarm": {}})
        with pytest.raises(CommandError, match="no manager"):
            api.check_manager()
