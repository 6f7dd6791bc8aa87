"""The flags of `shoal stack`, apart from the commands: loading them loads nothing that reads compose files."""

from enum import StrEnum
from typing import Annotated

import typer


class Resolve(StrEnum):
    """When the registry is asked what a tag means."""

    ALWAYS = "always"
    CHANGED = "changed"
    NEVER = "never"


FilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--compose-file",
        "-c",
        metavar="FILE",
        help="A compose file; - is standard input. Given again, it is laid over the one before. Else compose.yaml.",
    ),
]
EnvFilesOption = Annotated[
    list[str] | None,
    typer.Option("--env-file", metavar="FILE", help="Variables, in the place of .env. May be given again."),
]
ProfilesOption = Annotated[
    list[str] | None,
    typer.Option("--profile", metavar="NAME", help="Run services of this profile too. May be given again."),
]
NameArgument = Annotated[str, typer.Argument(metavar="STACK", help="The stack's name.")]
NamesArgument = Annotated[list[str], typer.Argument(metavar="STACK...", help="The stacks' names.")]
DetachOption = Annotated[
    bool, typer.Option("--detach/--no-detach", "-d", help="Return at once, and do not wait until it is done.")
]
ResolveOption = Annotated[Resolve, typer.Option("--resolve-image", help="When to ask the registry what a tag means.")]
