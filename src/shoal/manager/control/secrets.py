"""Control's secrets, which Shoal does not support yet.

Reads answer as in a swarm without secrets. Creating one is refused as unsupported, after Docker's checks. Source of
checks and texts: SwarmKit manager/controlapi/secret.go.
"""

from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.manager.control import unsupported
from shoal.manager.control.names import validate_secret_annotations
from shoal.manager.control.requests import require, require_id

SECRET_LIMIT_BYTES = 500 * 1024


class Secrets:
    """The RPCs of secrets."""

    async def get_secret(self, request: api.GetSecretRequest) -> api.GetSecretResponse:
        """Raise NotFound."""
        require_id("secret", request.secret_id)
        raise NotFound(f"secret {request.secret_id} not found")

    async def list_secrets(self, request: api.ListSecretsRequest) -> api.ListSecretsResponse:
        """Return an empty list."""
        return api.ListSecretsResponse()

    async def create_secret(self, request: api.CreateSecretRequest) -> api.CreateSecretResponse:
        """Raise InvalidArgument for a wrong spec, Unimplemented for any other."""
        require(request.HasField("spec"))
        validate_secret_annotations(request.spec.annotations)
        if request.spec.HasField("driver"):
            if not request.spec.driver.name:
                raise InvalidArgument("secret driver must have a name")
        elif not 0 < len(request.spec.data) < SECRET_LIMIT_BYTES:
            raise InvalidArgument("secret data must be larger than 0 and less than 512000 bytes")
        raise Unimplemented(unsupported.SECRETS)

    async def update_secret(self, request: api.UpdateSecretRequest) -> api.UpdateSecretResponse:
        """Raise NotFound."""
        require_id("secret", request.secret_id and request.HasField("secret_version"))
        raise NotFound(f"secret {request.secret_id} not found")

    async def remove_secret(self, request: api.RemoveSecretRequest) -> api.RemoveSecretResponse:
        """Raise NotFound."""
        require_id("secret", request.secret_id)
        raise NotFound(f"could not find secret {request.secret_id}")
