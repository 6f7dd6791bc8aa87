import pytest

from shoal import errors
from shoal.api import v1 as api
from shoal.store.changes import Object
from tests.unit.manager.allocator.objects import service, task
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
        ("x", errors.NotFound, "network x not found"),
        ("", errors.InvalidArgument, "invalid argument"),
    ],
)
async def test_removal_is_refused(make: Make, network_id: str, error: type[Exception], message: str) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await control.remove_network(api.RemoveNetworkRequest(network_id=network_id))
    assert str(raised.value) == message


async def test_a_network_is_made_and_removed(make: Make) -> None:
    control, store = make()
    wanted = ipam(subnet="10.0.0.0/24", gateway="10.0.0.1", range="10.0.0.128/25")
    wanted.annotations.name, wanted.attachable = "red", True
    made = (await control.create_network(api.CreateNetworkRequest(spec=wanted))).network
    assert (made.id, made.spec.attachable) == ("id1", True)
    with pytest.raises(errors.Conflict, match=r"^name conflicts with an existing object$"):
        await control.create_network(api.CreateNetworkRequest(spec=spec("red")))
    await control.remove_network(api.RemoveNetworkRequest(network_id="id1"))
    assert store.view().networks.get("id1") is None
    with pytest.raises(errors.NotFound, match=r"^network id1 not found$"):
        await control.remove_network(api.RemoveNetworkRequest(network_id="id1"))


async def test_there_is_one_ingress(make: Make) -> None:
    control, _ = make()
    with pytest.raises(errors.Conflict, match=r"^ingress network \(net-ingress\) is already present$"):
        await control.create_network(api.CreateNetworkRequest(spec=spec("mine", ingress=True)))
    await control.remove_network(api.RemoveNetworkRequest(network_id="net-ingress"))
    await control.create_network(api.CreateNetworkRequest(spec=spec("mine", ingress=True)))


async def test_ingress_in_use_stays(make: Make) -> None:
    control, _ = make(service("web", ports="80:80"))
    with pytest.raises(
        errors.FailedPrecondition, match=r"^ingress network cannot be removed because service web depends on it$"
    ):
        await control.remove_network(api.RemoveNetworkRequest(network_id="net-ingress"))


@pytest.mark.parametrize(
    ("driver", "ipam", "message"),
    [
        (api.Driver(), None, "driver name: if driver is specified name is required"),
        (api.Driver(name="weave"), None, "error during lookup of plugin weave"),
        (api.Driver(name="macvlan"), api.Driver(name="dhcp"), "error during lookup of plugin dhcp"),
    ],
)
async def test_drivers_that_nobody_has_are_refused(
    make: Make, driver: api.Driver, ipam: api.Driver | None, message: str
) -> None:
    control, _ = make()
    wanted = spec(driver_config=driver, ipam=api.IPAMOptions(driver=ipam) if ipam else None)
    with pytest.raises(errors.InvalidArgument) as raised:
        await control.create_network(api.CreateNetworkRequest(spec=wanted))
    assert str(raised.value) == message


def ended(one: api.Task) -> api.Task:
    one.status.state = api.FAILED
    return one


def stopping(one: api.Task) -> api.Task:
    one.desired_state = api.SHUTDOWN
    return one


def former(one: api.Task) -> api.Task:
    """Return a task that runs on a network which its service's spec does not name any more."""
    one.service_id = "web"
    return one


@pytest.mark.parametrize(
    ("users", "by"),
    [
        ([service("web", "net-blue")], "service web"),
        ([task("t1", None, "net-blue", state=api.RUNNING)], "task t1"),
        ([task("t1", None, "net-blue")], "task t1"),
        ([service("web"), former(task("t1", None, "net-blue", state=api.RUNNING))], "task t1"),
        ([ended(task("t1", None, "net-blue"))], ""),
        ([stopping(task("t1", None, "net-blue", state=api.RUNNING))], ""),
        ([former(task("t1", None, "net-blue", state=api.RUNNING))], ""),
        ([task("t1", None, "net-host", state=api.RUNNING)], ""),
    ],
)
async def test_a_network_is_removed_when_only_ended_ones_use_it(make: Make, users: list[Object], by: str) -> None:
    """Known fault 45."""
    control, store = make(*users)
    if not by:
        await control.remove_network(api.RemoveNetworkRequest(network_id="net-blue"))
        assert store.view().networks.get("net-blue") is None
        return
    with pytest.raises(errors.FailedPrecondition, match=f"^network net-blue is in use by {by}$"):
        await control.remove_network(api.RemoveNetworkRequest(network_id="net-blue"))
