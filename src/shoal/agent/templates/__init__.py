"""Go's text/template, as placeholders in a service's spec use it. Pure.

In: a text and the values it may name; out: the text with them filled in, or InvalidArgument with Go's own words. Owns
the language: `lexer` its words, `parser` and `tree` its grammar, `execution` what a tree says, `functions` and `printf`
what it calls, `values` how Go compares values. Not there: named templates (`define`, `template`, `block`), complex
numbers, and verbs of `printf` that show Go's insides (`%p`, `%b` and `%x` of a fraction, `%#v` of more than a string or
number). They are refused, never passed through.

As SwarmKit asks of Go (template/template.go: `missingkey=error`, `join`), a key that a map does not have is an error.
"""

from collections.abc import Mapping

from shoal.agent.templates.execution import Execution
from shoal.agent.templates.functions import FUNCTIONS, Function
from shoal.agent.templates.parser import parse
from shoal.agent.templates.values import Struct

__all__ = ["Function", "Struct", "expand"]


def expand(text: str, values: Struct, functions: Mapping[str, Function] | None = None) -> str:
    """Return the text with its placeholders filled in. `functions` are known beside Go's."""
    if "{{" not in text:
        return text
    known = {**FUNCTIONS, **(functions or {})}
    return Execution(text, values, known).run(parse(text, known.keys()))
