import pytest

from shoal.cli.main import as_typer_has_them
from tests.unit.cli.stacks import shoal


def test_dockers_way_to_write_flags_is_taken() -> None:
    assert as_typer_has_them(["stack", "deploy", "--detach=false", "--prune=true", "-c", "x=true"]) == [
        *("stack", "deploy", "--no-detach", "--prune", "-c", "x=true"),
    ]
    assert as_typer_has_them(["exec", "--", "--x=true"]) == ["exec", "--", "--x=true"]


@pytest.mark.parametrize("name", ["", "  ", "a" * 64, "'x'"])
@pytest.mark.parametrize("command", ["deploy", "rm", "ps", "services", "diff", "logs"])
def test_a_name_that_no_stack_has_is_refused_before_any_call(command: str, name: str) -> None:
    assert shoal("unix:///nowhere", command, name) == 1


@pytest.mark.parametrize("command", ["config", "deploy", "diff", "logs", "ls", "ps", "services", "rm"])
def test_each_command_has_help(command: str) -> None:
    assert shoal("unix:///nowhere", command, "--help") == 0
