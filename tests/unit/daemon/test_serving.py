from types import SimpleNamespace
from typing import Any, cast

from shoal import __version__
from shoal.daemon import serving
from shoal.daemon.config import DaemonConfig
from shoal.daemon.daemon import Parts


def parts(**fields: Any) -> Parts:
    given = SimpleNamespace(
        engine_id="e1",
        runtime_version="1.8.1",
        conmon_version="2.1.6",
        containers=SimpleNamespace(runtime_name="sh", apparmor="shoal-default"),
        **fields,
    )
    return cast(Parts, given)


def test_the_api_tells_what_the_host_was_found_to_be() -> None:
    facts = serving._facts(DaemonConfig(labels=("zone=a",), debug=True), parts())
    assert (facts.id, facts.version, facts.labels, facts.debug) == ("e1", __version__, ("zone=a",), True)
    assert (facts.runtime, facts.runtime_version, facts.conmon_version) == ("sh", "1.8.1", "2.1.6")
    assert facts.runtime_path.endswith("/sh")
    assert facts.apparmor == "shoal-default"


def test_subnets_of_the_host_s_own_networks_are_known() -> None:
    networks = [SimpleNamespace(subnet="172.18.0.0/16"), SimpleNamespace(subnet="")]
    found = serving._subnets(cast(Any, SimpleNamespace(networks=lambda: networks)))
    assert [str(subnet) for subnet in found] == ["172.18.0.0/16"]
