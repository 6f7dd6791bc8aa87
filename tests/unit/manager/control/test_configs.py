import pytest

from shoal import errors
from shoal.api import v1 as api
from tests.unit.manager.control.conftest import Make

NAME = api.Annotations(name="s")
CONFIG_SIZE = "config data must be larger than 0 and less than 1024000 bytes"


def config(**fields: object) -> api.CreateConfigRequest:
    return api.CreateConfigRequest(spec=api.ConfigSpec(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "request_", "error", "message"),
    [
        ("create_config", config(annotations=NAME, data=b"x" * 1_024_000), errors.InvalidArgument, CONFIG_SIZE),
        (
            "create_config",
            config(annotations=NAME, data=b"x" * 1_023_999),
            errors.Unimplemented,
            "configs are not supported by this version of Shoal",
        ),
        ("get_config", api.GetConfigRequest(config_id="x"), errors.NotFound, "config x not found"),
        ("remove_config", api.RemoveConfigRequest(config_id="x"), errors.NotFound, "could not find config x"),
    ],
)
async def test_a_config_is_refused(
    make: Make, call: str, request_: object, error: type[Exception], message: str
) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await getattr(control, call)(request_)
    assert str(raised.value) == message


async def test_there_are_none(make: Make) -> None:
    control, _ = make()
    assert not (await control.list_configs(api.ListConfigsRequest())).configs
