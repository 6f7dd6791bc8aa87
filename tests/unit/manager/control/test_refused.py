import pytest

from shoal import errors
from shoal.api import v1 as api
from shoal.api.gen.control_grpc import ControlBase
from tests.unit.manager.control.conftest import Make

NAME = api.Annotations(name="s")


def secret(**fields: object) -> api.CreateSecretRequest:
    return api.CreateSecretRequest(spec=api.SecretSpec(**fields))  # type: ignore[arg-type]


def config(**fields: object) -> api.CreateConfigRequest:
    return api.CreateConfigRequest(spec=api.ConfigSpec(**fields))  # type: ignore[arg-type]


def volume(**fields: object) -> api.CreateVolumeRequest:
    return api.CreateVolumeRequest(spec=api.VolumeSpec(**fields))  # type: ignore[arg-type]


SIZE = "secret data must be larger than 0 and less than 512000 bytes"
CONFIG_SIZE = "config data must be larger than 0 and less than 1024000 bytes"
NAME_RULE = (
    "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
)
DRIVER = api.Driver(name="local")
MOUNT = api.VolumeAccessMode(mount=api.VolumeAccessMode.MountVolume())


@pytest.mark.parametrize(
    ("call", "request_", "error", "message"),
    [
        ("create_secret", secret(), errors.InvalidArgument, "name must be provided"),
        ("create_secret", secret(annotations={"name": "a."}, data=b"x"), errors.InvalidArgument, NAME_RULE),
        ("create_secret", secret(annotations={"name": "a" * 65}, data=b"x"), errors.InvalidArgument, NAME_RULE),
        ("create_secret", secret(annotations=NAME), errors.InvalidArgument, SIZE),
        ("create_secret", secret(annotations=NAME, data=b"x" * 512_000), errors.InvalidArgument, SIZE),
        (
            "create_secret",
            secret(annotations=NAME, driver=api.Driver()),
            errors.InvalidArgument,
            "secret driver must have a name",
        ),
        (
            "create_secret",
            secret(annotations=NAME, data=b"x" * 511_999),
            errors.Unimplemented,
            "secrets are not supported by this version of Shoal",
        ),
        ("create_config", config(annotations=NAME, data=b"x" * 1_024_000), errors.InvalidArgument, CONFIG_SIZE),
        (
            "create_config",
            config(annotations=NAME, data=b"x" * 1_023_999),
            errors.Unimplemented,
            "configs are not supported by this version of Shoal",
        ),
        ("get_secret", api.GetSecretRequest(), errors.InvalidArgument, "secret ID must be provided"),
        ("get_secret", api.GetSecretRequest(secret_id="x"), errors.NotFound, "secret x not found"),
        ("remove_secret", api.RemoveSecretRequest(secret_id="x"), errors.NotFound, "could not find secret x"),
        ("get_config", api.GetConfigRequest(config_id="x"), errors.NotFound, "config x not found"),
        ("remove_config", api.RemoveConfigRequest(config_id="x"), errors.NotFound, "could not find config x"),
        ("create_volume", api.CreateVolumeRequest(), errors.InvalidArgument, "spec must not be nil"),
        ("create_volume", volume(annotations=NAME), errors.InvalidArgument, "driver must be specified"),
        ("create_volume", volume(driver=DRIVER), errors.InvalidArgument, "meta: name must be provided"),
        (
            "create_volume",
            volume(driver=DRIVER, annotations=NAME),
            errors.InvalidArgument,
            "AccessMode must not be nil",
        ),
        (
            "create_volume",
            volume(driver=DRIVER, annotations=NAME, access_mode=api.VolumeAccessMode()),
            errors.InvalidArgument,
            "Volume AccessMode must specify either Mount or Block access type",
        ),
        (
            "create_volume",
            volume(driver=DRIVER, annotations=NAME, access_mode=MOUNT),
            errors.Unimplemented,
            "cluster volumes are not supported by this version of Shoal",
        ),
        (
            "create_extension",
            api.CreateExtensionRequest(),
            errors.Unimplemented,
            "the Resource API is not supported by this version of Shoal",
        ),
    ],
)
async def test_what_is_not_held_is_refused(
    make: Make, call: str, request_: object, error: type[Exception], message: str
) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await getattr(control, call)(request_)
    assert str(raised.value) == message


async def test_lists_of_what_is_not_held_are_empty(make: Make) -> None:
    control, _ = make()
    assert not (await control.list_secrets(api.ListSecretsRequest())).secrets
    assert not (await control.list_configs(api.ListConfigsRequest())).configs
    assert not (await control.list_volumes(api.ListVolumesRequest())).volumes
    assert not (await control.list_resources(api.ListResourcesRequest())).resources


async def test_control_has_every_rpc(make: Make) -> None:
    control, _ = make()
    rpcs = [name for name in vars(ControlBase) if name[0].isupper()]
    assert len(rpcs) > 40
    missing = [
        name
        for name in rpcs
        if not hasattr(control, "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_"))
    ]
    assert missing == []
