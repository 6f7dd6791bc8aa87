"""Checks a container's references to secrets and configs. Source: SwarmKit manager/controlapi/service.go."""

from shoal.api import v1 as api
from shoal.errors import InvalidArgument


def validate_secret_references(container: api.ContainerSpec) -> None:
    """Raise InvalidArgument for the first secret reference that is malformed or has the file name of another one."""
    targets: dict[str, str] = {}
    for reference in container.secrets:
        if not reference.secret_id or not reference.secret_name:
            raise InvalidArgument("malformed secret reference")
        _claim("secret", reference.secret_name, reference, targets)


def validate_config_references(container: api.ContainerSpec) -> None:
    """Raise InvalidArgument for the first config reference that is malformed or has the file name of another one.

    Raises it also if the credential spec names a config without a reference for the runtime.
    """
    targets: dict[str, str] = {}
    for reference in container.configs:
        if not reference.config_id or not reference.config_name:
            raise InvalidArgument("malformed config reference")
        _claim("config", reference.config_name, reference, targets)
    wanted = container.privileges.credential_spec.config
    if wanted and not any(
        reference.config_id == wanted and reference.WhichOneof("target") == "runtime" for reference in container.configs
    ):
        raise InvalidArgument(
            f"CredentialSpec references config '{wanted}', "
            "but that config isn't in config references with RuntimeTarget"
        )


def _claim(kind: str, name: str, reference: api.SecretReference | api.ConfigReference, targets: dict[str, str]) -> None:
    target = reference.WhichOneof("target")
    if target is None:
        raise InvalidArgument(f"malformed {kind} reference, no target provided")
    if target != "file":
        return
    file_name = reference.file.name
    if not file_name:
        raise InvalidArgument(f"malformed file {kind} reference, invalid target file name provided")
    if file_name in targets:
        raise InvalidArgument(
            f"{kind} references '{targets[file_name]}' and '{name}' have a conflicting target: '{file_name}'"
        )
    targets[file_name] = name
