"""Our templates compared with Go's: `docker context inspect --format` is a Go program that expands a template without
an engine.
"""

import os
import subprocess
from random import Random

from shoal.agent.templates import Struct, expand
from shoal.errors import InvalidArgument
from tests.harness.hosts import docker_program

SEED = int(os.environ.get("SHOAL_TEMPLATES_SEED", "20261128"))
CASES = 200
HOST = "unix:///var/run/docker.sock"
VALUES = Struct(Name="default", Endpoints={"docker": Struct(Host=HOST, SkipTLSVerify=False)})

CONSTANTS = (
    "1",
    "0",
    "-3",
    "2.5",
    '"a"',
    '"é<b>"',
    '""',
    "true",
    "false",
    "'x'",
    "nil",
    '`r"w`',
    "0x1F",
    '"%d-%s"',
    r'"\n\x41"',
    ".Name",
    ".Endpoints",
    '(index .Endpoints "docker").Host',
    "1e3",
    "12345678.5",
    "1e-7",
    "017",
    r"'\''",
)
FUNCTIONS = (
    "print",
    "println",
    "printf",
    "printf",
    "len",
    "index",
    "slice",
    "html",
    "js",
    "urlquery",
    "not",
    "and",
    "or",
)
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


class Writer:
    """Writes random templates."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)

    def form(self) -> str:
        draw = self._rng.choice
        flags, widths, precisions = ("", "-", "+", "0", " ", "#", "-0", "+0"), ("", "5", "12"), ("", ".2", ".0", ".")
        verbs = [f"%{draw(flags)}{draw(widths)}{draw(precisions)}{draw('vdsqtxXoOcUeEfgGz')}" for _ in range(2)]
        return '"' + draw(verbs) + draw(["", "%%", "%[1]v", "%[2]d", "%*d", "é", verbs[0]]) + '"'

    def expression(self, depth: int = 0) -> str:
        draw = self._rng.choice
        if depth > 2 or self._rng.random() < 0.4:
            return draw(CONSTANTS)
        name = draw(FUNCTIONS + COMPARISONS)
        arguments = [self.expression(depth + 1) for _ in range(self._rng.randint(0, 3))]
        words = [name, *([self.form()] if name == "printf" else [])]
        words += [word if " " not in word or word[0] in '("`' else f"({word})" for word in arguments]
        piped = draw(["", "", "", " | print", ' | printf "%s|%v"', " | len", " | html", " | not"])
        return " ".join(words) + piped

    def template(self, depth: int = 0) -> str:
        one = self.expression()
        kind = self._rng.randint(0, 9)
        if depth > 2 or kind < 5:
            draw = self._rng.choice
            return draw(["{{", "{{- ", " {{"]) + one + draw(["}}", " -}}", "}} "])
        inner, other = self.template(depth + 1), self.expression()
        return {
            5: f"{{{{if {one}}}}}{inner}{{{{else}}}}{self.template(depth + 1)}{{{{end}}}}",
            6: f"{{{{with $w := {one}}}}}{inner}{{{{$w}}}}{{{{else with {other}}}}}{{{{.}}}}{{{{end}}}}",
            7: f"{{{{range $i, $e := {one}}}}}{inner}{{{{$i}}}}{{{{break}}}}{{{{else}}}}e{{{{end}}}}",
            8: f"{{{{$v := {one}}}}}{{{{$v = {other}}}}}{{{{$v}}}}",
            9: f"{{{{range .Endpoints}}}}{inner}{{{{continue}}}}{{{{end}}}}",
        }[kind]


def of_go(text: str) -> str | None:
    """Return Go's result of a template. None if Go refuses it."""
    command = [docker_program(), "context", "inspect", "-f", text]
    done = subprocess.run(
        command, capture_output=True, check=False, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    )
    return done.stdout.decode("utf-8", "surrogateescape")[:-1] if done.returncode == 0 else None


TEXTS = [Writer(SEED + case).template() for case in range(CASES)]


def test_what_go_makes_of_a_template_ours_makes() -> None:
    differ = []
    compared = 0
    knows_else_with = of_go('{{with ""}}{{else with "b"}}{{.}}{{end}}') == "b"  # Go 1.23 and later
    for text in TEXTS:
        if "{{else with" in text and not knows_else_with:
            continue
        try:
            ours: str | None = expand(text, VALUES)
        except InvalidArgument as refusal:
            if "not supported by Shoal" in str(refusal):
                continue
            ours = None
        theirs = of_go(text)
        if theirs is not None and ("=map[string]interface" in theirs or "=context." in theirs):
            continue  # Go's names of types that a service's values do not have
        compared += ours is not None
        if ours != theirs:
            differ.append((text, theirs, ours))
    assert not differ
    assert compared > CASES / 4  # otherwise the writer would write only invalid templates
