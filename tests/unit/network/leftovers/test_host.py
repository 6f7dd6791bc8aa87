"""Which tables are read at all. What is done to the kernel is tested on one (cluster/test_leftover_rules)."""

from shoal.network.leftovers.host import Names


def test_only_families_with_chains_of_dockers_are_read() -> None:
    tables = frozenset({("ip", "filter"), ("ip", "nat"), ("ip", "mine"), ("ip6", "filter"), ("inet", "filter")})
    users = {("ip", "filter", "DOCKER-USER"), ("ip", "mine", "DOCKER"), ("inet", "filter", "DOCKER")}
    assert Names(tables, frozenset(users)).dockers == []
    dockers = users | {("ip", "filter", "DOCKER-FORWARD")}
    assert Names(tables, frozenset(dockers)).dockers == [("ip", "filter"), ("ip", "nat")]
