import pytest

from shoal import errors
from shoal.api import v1 as api
from shoal.manager.control import Control
from tests.unit.manager.control.conftest import Make

NAME = api.Annotations(name="s")
SIZE = "secret data must be larger than 0 and less than 512000 bytes"
NAME_RULE = (
    "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
)


def secret(**fields: object) -> api.CreateSecretRequest:
    return api.CreateSecretRequest(spec=api.SecretSpec(**fields))  # type: ignore[arg-type]


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
            secret(annotations=NAME, driver=api.Driver(name="vault")),
            errors.ShoalError,
            'plugin "vault" not found',
        ),
        ("get_secret", api.GetSecretRequest(), errors.InvalidArgument, "secret ID must be provided"),
        ("get_secret", api.GetSecretRequest(secret_id="x"), errors.NotFound, "secret x not found"),
        ("remove_secret", api.RemoveSecretRequest(secret_id="x"), errors.NotFound, "could not find secret x"),
    ],
)
async def test_a_secret_is_refused(
    make: Make, call: str, request_: object, error: type[Exception], message: str
) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await getattr(control, call)(request_)
    assert str(raised.value) == message


async def make_secret(control: Control, name: str = "key", data: bytes = b"canary") -> api.Secret:
    spec = api.SecretSpec(annotations=api.Annotations(name=name, labels={"a": "1"}), data=data)
    return (await control.create_secret(api.CreateSecretRequest(spec=spec))).secret


async def test_known_fault_49_limits_are_named_and_the_largest_secret_is_stored_whole(make: Make) -> None:
    control, store = make()
    largest = b"x" * 511_999
    made = await make_secret(control, data=largest)
    stored = store.view().secrets.get(made.id)
    assert stored is not None
    assert stored.spec.data == largest


async def test_no_answer_has_the_data_of_a_secret(make: Make) -> None:
    control, store = make()
    made = await make_secret(control)
    got = (await control.get_secret(api.GetSecretRequest(secret_id=made.id))).secret
    (listed,) = (await control.list_secrets(api.ListSecretsRequest())).secrets
    relabelled = api.SecretSpec(annotations=api.Annotations(name="key", labels={"b": "2"}))
    update = api.UpdateSecretRequest(secret_id=made.id, secret_version=got.meta.version, spec=relabelled)
    updated = (await control.update_secret(update)).secret
    assert (made.id, got, listed) == ("id1", made, made)
    for each in (made, got, listed, updated):
        assert each.spec.data == b""
    assert dict(updated.spec.annotations.labels) == {"b": "2"}
    assert updated.meta.version.index > made.meta.version.index
    stored = store.view().secrets.get(made.id)
    assert stored is not None
    assert stored.spec.data == b"canary"
    with pytest.raises(errors.OutOfSequence):
        await control.update_secret(update)


async def test_only_labels_can_be_changed(make: Make) -> None:
    control, _ = make()
    made = await make_secret(control)
    for name, data in (("other", b""), ("key", b"other"), ("key", b"canar")):
        spec = api.SecretSpec(annotations=api.Annotations(name=name), data=data)
        request = api.UpdateSecretRequest(secret_id=made.id, secret_version=made.meta.version, spec=spec)
        with pytest.raises(errors.InvalidArgument, match=r"^only updates to Labels are allowed$"):
            await control.update_secret(request)
    same = api.SecretSpec(annotations=api.Annotations(name="key"), data=b"canary")
    await control.update_secret(api.UpdateSecretRequest(secret_id=made.id, secret_version=made.meta.version, spec=same))
    unknown = api.UpdateSecretRequest(secret_id="x", secret_version=made.meta.version, spec=same)
    with pytest.raises(errors.NotFound, match=r"^secret x not found$"):
        await control.update_secret(unknown)


async def test_a_taken_name_is_a_conflict_in_whatever_case(make: Make) -> None:
    control, _ = make()
    await make_secret(control)
    with pytest.raises(errors.Conflict, match=r"^secret KEY already exists$"):
        await make_secret(control, "KEY")


async def test_secrets_are_found_by_filters_and_removed(make: Make) -> None:
    control, store = make()
    one, two = await make_secret(control, "one"), await make_secret(control, "two")

    async def found(**filters: object) -> list[str]:
        request = api.ListSecretsRequest(filters=api.ListSecretsRequest.Filters(**filters))  # type: ignore[arg-type]
        return [each.spec.annotations.name for each in (await control.list_secrets(request)).secrets]

    assert await found(name_prefixes=["o"]) == ["one"]
    assert await found(names=["two"]) == ["two"]
    assert await found(id_prefixes=[two.id]) == ["two"]
    assert await found(labels={"a": "2"}) == []
    await control.remove_secret(api.RemoveSecretRequest(secret_id=one.id))
    assert [each.id for each in store.view().secrets.all()] == [two.id]
