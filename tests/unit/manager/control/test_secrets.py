import pytest

from shoal import errors
from shoal.api import v1 as api
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
            secret(annotations=NAME, data=b"x" * 511_999),
            errors.Unimplemented,
            "secrets are not supported by this version of Shoal",
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


async def test_there_are_none(make: Make) -> None:
    control, _ = make()
    assert not (await control.list_secrets(api.ListSecretsRequest())).secrets
