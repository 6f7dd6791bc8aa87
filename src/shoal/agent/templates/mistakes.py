"""The errors of templates, in Go's words."""

from shoal.agent.templates.values import encoded
from shoal.errors import InvalidArgument

NAME = "expansion"  # what SwarmKit calls every template; it is in the texts of its errors


def parse_error(text: str, at: int, reason: str) -> InvalidArgument:
    """Return the error for a template that cannot be read at the character `at`."""
    line = text.count("\n", 0, at) + 1
    return InvalidArgument(f"template: {NAME}:{line}: {reason}")


def exec_error(text: str, at: int, shown: str, reason: str) -> InvalidArgument:
    """Return the error for a piece that cannot be carried out. `at` counts characters, the column in the text bytes."""
    line = text.count("\n", 0, at) + 1
    column = len(encoded(text[text.rfind("\n", 0, at) + 1 : at]))
    return InvalidArgument(f'template: {NAME}:{line}:{column}: executing "{NAME}" at <{shown}>: {reason}')
