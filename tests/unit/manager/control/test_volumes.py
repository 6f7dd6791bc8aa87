import pytest

from shoal import errors
from shoal.api import v1 as api
from tests.unit.manager.control.conftest import Make

NAME = api.Annotations(name="s")
DRIVER = api.Driver(name="local")
MOUNT = api.VolumeAccessMode(mount=api.VolumeAccessMode.MountVolume())


def volume(**fields: object) -> api.CreateVolumeRequest:
    return api.CreateVolumeRequest(spec=api.VolumeSpec(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "request_", "error", "message"),
    [
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
    ],
)
async def test_a_volume_is_refused(
    make: Make, call: str, request_: object, error: type[Exception], message: str
) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await getattr(control, call)(request_)
    assert str(raised.value) == message


async def test_there_are_none(make: Make) -> None:
    control, _ = make()
    assert not (await control.list_volumes(api.ListVolumesRequest())).volumes
