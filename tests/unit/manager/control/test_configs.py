import pytest

from shoal import errors
from shoal.api import v1 as api
from shoal.manager.control import Control
from tests.unit.manager.control.conftest import Make

NAME = api.Annotations(name="s")
CONFIG_SIZE = "config data must be larger than 0 and less than 1024000 bytes"


def config(**fields: object) -> api.CreateConfigRequest:
    return api.CreateConfigRequest(spec=api.ConfigSpec(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "request_", "error", "message"),
    [
        ("create_config", config(annotations=NAME, data=b"x" * 1_024_000), errors.InvalidArgument, CONFIG_SIZE),
        ("create_config", config(annotations=NAME), errors.InvalidArgument, CONFIG_SIZE),
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


async def make_config(control: Control, name: str = "site", data: bytes = b"text") -> api.Config:
    spec = api.ConfigSpec(annotations=api.Annotations(name=name, labels={"a": "1"}), data=data)
    return (await control.create_config(api.CreateConfigRequest(spec=spec))).config


async def test_known_fault_49_the_largest_config_is_stored_whole_and_shown(make: Make) -> None:
    control, _ = make()
    largest = b"x" * 1_023_999
    made = await make_config(control, data=largest)
    (listed,) = (await control.list_configs(api.ListConfigsRequest())).configs
    assert listed == made == (await control.get_config(api.GetConfigRequest(config_id=made.id))).config
    assert listed.spec.data == largest


async def test_only_labels_can_be_changed(make: Make) -> None:
    control, _ = make()
    made = await make_config(control)

    async def update(name: str, data: bytes, **labels: str) -> api.Config:
        spec = api.ConfigSpec(annotations=api.Annotations(name=name, labels=labels), data=data)
        request = api.UpdateConfigRequest(config_id=made.id, config_version=made.meta.version, spec=spec)
        return (await control.update_config(request)).config

    for name, data in (("other", b""), ("site", b"other")):
        with pytest.raises(errors.InvalidArgument, match=r"^only updates to Labels are allowed$"):
            await update(name, data)
    changed = await update("site", b"", b="2")
    assert (changed.spec.data, dict(changed.spec.annotations.labels)) == (b"text", {"b": "2"})
    with pytest.raises(errors.OutOfSequence):
        await update("site", b"text")
    unknown = api.UpdateConfigRequest(config_id="x", config_version=made.meta.version)
    with pytest.raises(errors.NotFound, match=r"^config x not found$"):
        await control.update_config(unknown)


async def test_a_taken_name_is_a_conflict_and_a_removed_one_is_free(make: Make) -> None:
    control, _ = make()
    made = await make_config(control)
    with pytest.raises(errors.Conflict, match=r"^config SITE already exists$"):
        await make_config(control, "SITE")
    await control.remove_config(api.RemoveConfigRequest(config_id=made.id))
    await make_config(control, "SITE")
