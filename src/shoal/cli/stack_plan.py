"""What a deploy of a project is to make: all that can be wrong is found here, before the first call.

In: a project, and files to read. Out: a `Plan`, or a ComposeError. Pure but for the files.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shoal.compose.convert.contents import LONGEST, Content, contents
from shoal.compose.convert.namespace import LONGEST_CONTENT, check_names
from shoal.compose.convert.networks import external_networks, network_specs
from shoal.compose.convert.services import service_spec
from shoal.compose.errors import Warned
from shoal.compose.limits import Limits
from shoal.compose.project import Files, Project
from shoal.compose.swarm_limits import unsupported

# Labels of a secret or config that we made: its key in the file, and a digest of its content.
KEY, DIGEST = "shoal.stack.key", "shoal.stack.digest"
DIGEST_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stack is to have."""

    project: Project
    networks: Mapping[str, Mapping[str, Any]]
    external_networks: Sequence[str]
    contents: Mapping[str, Sequence[Content]]  # by section: secrets, configs
    warnings: Sequence[Warned]

    def services(self, found: Mapping[str, Mapping[str, tuple[str, str]]]) -> dict[str, dict[str, Any]]:
        """Return the specs of services, by key. `found` has names and ids, by section and key."""
        return {
            key: service_spec(key, self.project, found["secrets"], found["configs"])
            for key in sorted(self.project.services)
        }


def plan(project: Project, files: Files) -> Plan:
    """Return what a deploy of a project is to make. Raises ComposeError for all that would not work."""
    check_names(project)
    limits = Limits(files)
    found = {section: contents(section, project, limits) for section in LONGEST}
    made = Plan(
        project,
        network_specs(project),
        sorted(external_networks(project)),
        found,
        [*project.warnings, *unsupported(project)],
    )
    made.services({section: {each.key: (each.name, "") for each in all_of} for section, all_of in found.items()})
    return made


def digest(content: Content) -> str:
    """Return a digest of a content, and of all that cannot be changed later, keyed with its name.

    A secret's digest is in its labels, which managers alone show to those who could read the secret anyway. With the
    name in it, equal secrets of different names cannot be told.
    """
    fixed = [repr(content.spec.get(key)).encode() for key in ("Templating", "Driver")]
    return hmac.new(content.name.encode(), b"\0".join([content.data or b"", *fixed]), hashlib.sha256).hexdigest()[
        :DIGEST_LENGTH
    ]


def named_by_content(name: str, content_digest: str) -> str:
    """Return the name of the object that takes the place of one with other content."""
    return f"{name[: LONGEST_CONTENT - len(content_digest) - 1]}-{content_digest}"
