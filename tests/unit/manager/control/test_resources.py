import pytest

from shoal import errors
from shoal.api import v1 as api
from tests.unit.manager.control.conftest import Make


@pytest.mark.parametrize(
    ("call", "request_", "error", "message"),
    [
        (
            "create_extension",
            api.CreateExtensionRequest(),
            errors.Unimplemented,
            "the Resource API is not supported by this version of Shoal",
        ),
    ],
)
async def test_a_resource_is_refused(
    make: Make, call: str, request_: object, error: type[Exception], message: str
) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await getattr(control, call)(request_)
    assert str(raised.value) == message


async def test_there_are_none(make: Make) -> None:
    control, _ = make()
    assert not (await control.list_resources(api.ListResourcesRequest())).resources
