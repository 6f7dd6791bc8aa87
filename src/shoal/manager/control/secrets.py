"""Control's secrets: create, get, list, update of labels, remove. No answer has a secret's data.

Source of checks and texts: SwarmKit manager/controlapi/secret.go.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.errors import Conflict, InvalidArgument, NotFound, ShoalError
from shoal.manager.control.dependencies import check_is_unused
from shoal.manager.control.filters import named
from shoal.manager.control.names import validate_secret_annotations
from shoal.manager.control.requests import require, require_id
from shoal.store.changes import copy
from shoal.store.memory import Transaction

if TYPE_CHECKING:
    from shoal.store.store import Store

SECRET_LIMIT_BYTES = 500 * 1024


class Secrets:
    """The RPCs of secrets."""

    def __init__(self, store: Store, new_id: Callable[[], str]) -> None:
        self._store = store
        self._new_id = new_id

    async def get_secret(self, request: api.GetSecretRequest) -> api.GetSecretResponse:
        """Return a secret without its data. Raises NotFound."""
        require_id("secret", request.secret_id)
        return api.GetSecretResponse(secret=self._secret(request.secret_id))

    async def list_secrets(self, request: api.ListSecretsRequest) -> api.ListSecretsResponse:
        """Return the secrets that pass the filters, without their data."""
        return api.ListSecretsResponse(
            secrets=[
                _without_data(secret)
                for secret in self._store.view().secrets.all()
                if named(secret.id, secret.spec.annotations, request.filters)
            ]
        )

    async def create_secret(self, request: api.CreateSecretRequest) -> api.CreateSecretResponse:
        """Store a new secret. Raises InvalidArgument for a wrong spec, Conflict if the name is taken."""
        require(request.HasField("spec"))
        spec = request.spec
        validate_secret_annotations(spec.annotations)
        if spec.HasField("driver"):
            if not spec.driver.name:
                raise InvalidArgument("secret driver must have a name")
            # Docker's words for a driver whose plugin is not there. Shoal has no plugins.
            raise ShoalError(f'plugin "{spec.driver.name}" not found')
        if not 0 < len(spec.data) < SECRET_LIMIT_BYTES:
            raise InvalidArgument("secret data must be larger than 0 and less than 512000 bytes")
        secret = api.Secret(id=self._new_id(), spec=spec)

        def create(transaction: Transaction) -> None:
            if transaction.secrets.find("name", spec.annotations.name):
                raise Conflict(f"secret {spec.annotations.name} already exists")
            transaction.create(secret)

        await self._store.update(create)
        return api.CreateSecretResponse(secret=self._secret(secret.id))

    async def update_secret(self, request: api.UpdateSecretRequest) -> api.UpdateSecretResponse:
        """Change the labels. Raises InvalidArgument for any other change, OutOfSequence, NotFound."""
        require_id("secret", request.secret_id and request.HasField("secret_version"))

        def update(transaction: Transaction) -> None:
            current = transaction.secrets.get(request.secret_id)
            if current is None:
                raise _not_found(request.secret_id)
            spec = request.spec
            if spec.annotations.name != current.spec.annotations.name or not _same(spec.data, current.spec.data):
                raise InvalidArgument("only updates to Labels are allowed")
            secret = copy(current)
            secret.meta.version.CopyFrom(request.secret_version)
            secret.spec.annotations.ClearField("labels")
            secret.spec.annotations.labels.update(spec.annotations.labels)
            transaction.update(secret)

        await self._store.update(update)
        return api.UpdateSecretResponse(secret=self._secret(request.secret_id))

    async def remove_secret(self, request: api.RemoveSecretRequest) -> api.RemoveSecretResponse:
        """Remove a secret. Raises NotFound, and InvalidArgument with the services that use it."""
        require_id("secret", request.secret_id)

        def remove(transaction: Transaction) -> None:
            secret = transaction.secrets.get(request.secret_id)
            if secret is None:
                raise NotFound(f"could not find secret {request.secret_id}")
            check_is_unused(transaction, "secret", secret)
            transaction.remove(api.Secret, secret.id)

        await self._store.update(remove)
        return api.RemoveSecretResponse()

    def _secret(self, secret_id: str) -> api.Secret:
        secret = self._store.view().secrets.get(secret_id)
        if secret is None:
            raise _not_found(secret_id)
        return _without_data(secret)


def _not_found(secret_id: str) -> NotFound:
    return NotFound(f"secret {secret_id} not found")


def _same(given: bytes, stored: bytes) -> bool:
    # Whoever changes labels has not seen the data and sends none. The time of the comparison tells nothing of it.
    return not given or hmac.compare_digest(given, stored)


def _without_data(secret: api.Secret) -> api.Secret:
    # Made field by field, so that the data is not even copied.
    shown = api.Secret(id=secret.id, meta=secret.meta, internal=secret.internal)
    shown.spec.annotations.CopyFrom(secret.spec.annotations)
    for field in ("driver", "templating"):
        if secret.spec.HasField(field):
            getattr(shown.spec, field).CopyFrom(getattr(secret.spec, field))
    return shown
