import pytest

from shoal import errors
from shoal.api import v1 as api
from tests.unit.manager.control.conftest import Make


def spec(name: str = "blue2", **fields: object) -> api.NetworkSpec:
    return api.NetworkSpec(annotations=api.Annotations(name=name), **fields)  # type: ignore[arg-type]


def ipam(**fields: str) -> api.NetworkSpec:
    return spec(ipam=api.IPAMOptions(configs=[api.IPAMConfig(**fields)]))  # type: ignore[arg-type]


async def test_list_filters(make: Make) -> None:
    control, _ = make()

    async def found(**filters: object) -> list[str]:
        request = api.ListNetworksRequest(filters=api.ListNetworksRequest.Filters(**filters))  # type: ignore[arg-type]
        return [each.spec.annotations.name for each in (await control.list_networks(request)).networks]

    assert await found() == ["host", "bridge", "none", "ingress", "blue"]
    assert await found(name_prefixes=["b"]) == ["bridge", "blue"]
    assert await found(labels={"com.docker.swarm.predefined": "true"}) == ["host", "bridge", "none"]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (spec(ingress=True, attachable=True), errors.InvalidArgument, "ingress network cannot be attachable"),
        (spec(name=""), errors.InvalidArgument, "meta: name must be provided"),
        (ipam(), errors.InvalidArgument, "ipam configuration: invalid subnet "),
        (ipam(subnet="10.0.0.0"), errors.InvalidArgument, "ipam configuration: invalid subnet 10.0.0.0"),
        (
            ipam(subnet="10.0.0.0/24", range="x"),
            errors.InvalidArgument,
            "ipam configuration: invalid range x",
        ),
        (
            ipam(subnet="10.0.0.0/24", range="10.0.1.0/25"),
            errors.InvalidArgument,
            "ipam configuration: subnet 10.0.0.0/24 does not contain range 10.0.1.0/25",
        ),
        (
            ipam(subnet="10.0.0.0/24", gateway="10.0.0"),
            errors.InvalidArgument,
            "ipam configuration: invalid gateway 10.0.0",
        ),
        (
            ipam(subnet="10.0.0.0/24", gateway="10.0.1.1"),
            errors.InvalidArgument,
            "ipam configuration: subnet 10.0.0.0/24 does not contain gateway 10.0.1.1",
        ),
        (
            ipam(subnet="10.0.0.0/24", gateway="10.0.0.1", range="10.0.0.128/25"),
            errors.Unimplemented,
            "creating and removing overlay networks is not supported by this version of Shoal",
        ),
    ],
)
async def test_creation_is_refused(make: Make, wrong: api.NetworkSpec, error: type[Exception], message: str) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await control.create_network(api.CreateNetworkRequest(spec=wrong))
    assert str(raised.value) == message


async def test_predefined_label_is_not_for_users(make: Make) -> None:
    control, _ = make()
    wrong = spec()
    wrong.annotations.labels["com.docker.swarm.predefined"] = "true"
    with pytest.raises(errors.PermissionDenied) as raised:
        await control.create_network(api.CreateNetworkRequest(spec=wrong))
    assert str(raised.value) == (
        "label com.docker.swarm.predefined is for internally created predefined networks and cannot be applied by users"
    )


@pytest.mark.parametrize(
    ("network_id", "error", "message"),
    [
        (
            "net-host",
            errors.FailedPrecondition,
            "network net-host (host) is a swarm predefined network and cannot be removed",
        ),
        (
            "net-blue",
            errors.Unimplemented,
            "creating and removing overlay networks is not supported by this version of Shoal",
        ),
        ("x", errors.NotFound, "network x not found"),
        ("", errors.InvalidArgument, "invalid argument"),
    ],
)
async def test_removal_is_refused(make: Make, network_id: str, error: type[Exception], message: str) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await control.remove_network(api.RemoveNetworkRequest(network_id=network_id))
    assert str(raised.value) == message
