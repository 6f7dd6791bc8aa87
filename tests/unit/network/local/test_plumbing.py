from shoal.network.local.plumbing import bridge_name


def test_a_bridges_name_is_one_of_the_kernels_and_none_of_a_hosts_own_bridge() -> None:
    name = bridge_name("0123456789abcdefghijklmno")
    assert name == "shoal-012345678"
    assert len(name) <= 15
