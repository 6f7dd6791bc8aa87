"""Go's text/template, for the placeholders in a service's spec. Pure.

In: a text and the values it may name; out: the expanded text, or InvalidArgument with Go's own words. `lexer` splits
the text, `parser` makes a `tree` of it, and `execution` carries the tree out. A template may call what is in
`functions` and `printf`; `values` compares values as Go does. Not supported, and refused: named templates (`define`,
`template`, `block`), complex numbers, and the verbs of `printf` that show Go's internals (`%p`; `%b`, `%x` and every
`#` form of a fraction; `%#v` of a list, map or struct).

A key that a map does not have is an error, as SwarmKit sets it (template/template.go: `missingkey=error`).
"""

from collections.abc import Mapping

from shoal.agent.templates.execution import Execution
from shoal.agent.templates.functions import FUNCTIONS, Function
from shoal.agent.templates.parser import parse
from shoal.agent.templates.values import Struct

__all__ = ["Function", "Struct", "expand"]


def expand(text: str, values: Struct, functions: Mapping[str, Function] | None = None) -> str:
    """Return the text with its placeholders filled in. `functions` are added to Go's own. Raises InvalidArgument."""
    if "{{" not in text:
        return text
    known = {**FUNCTIONS, **(functions or {})}
    return Execution(text, values, known).run(parse(text, known.keys()))
