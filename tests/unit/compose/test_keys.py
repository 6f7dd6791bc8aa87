from tests.unit.compose.files import project

SERVICE = "services: {web: {image: a}}\n"


def test_the_old_form_of_external_names_what_is_there() -> None:
    found = project(SERVICE + "networks: {n: {external: {name: out}}, m: {external: true}}")
    assert found.canonical()["networks"] == {
        "default": {"name": "p_default"},
        "m": {"name": "m", "external": True},
        "n": {"name": "out", "external": True},
    }


def test_subnets_are_merged_by_their_subnet() -> None:
    found = project(
        SERVICE + "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/8, gateway: 10.0.0.1}]}}}",
        "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/8, ip_range: 10.1.0.0/16}, {subnet: 11.0.0.0/8}]}}}",
    )
    assert found.networks["n"].find("ipam", "config") == [
        {"subnet": "10.0.0.0/8", "gateway": "10.0.0.1", "ip_range": "10.1.0.0/16"},
        {"subnet": "11.0.0.0/8"},
    ]


def test_a_volume_that_binds_a_folder_has_its_whole_path() -> None:
    found = project(SERVICE + "volumes: {v: {driver: local, driver_opts: {o: bind, device: ./x}}}")
    assert found.volumes["v"].find("driver_opts", "device") == "/project/x"
