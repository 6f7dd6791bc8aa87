"""`shoal stack`: deploys compose files as services of the swarm, without Docker's command, and looks after them.

Here are the flags and what they mean; `stack_commands` does it, and is loaded only when one of these commands runs.
"""

from typing import Annotated

import typer

from shoal.cli.rendering import Format, FormatOption, How, NoTruncOption, QuietListOption, QuietOption
from shoal.cli.stack_options import (
    DetachOption,
    EnvFilesOption,
    FilesOption,
    NameArgument,
    NamesArgument,
    ProfilesOption,
    Resolve,
    ResolveOption,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Deploy compose files, and look after the stacks that they make.",
)


@app.command()
def config(
    files: FilesOption = None,
    env_files: EnvFilesOption = None,
    profiles: ProfilesOption = None,
    skip_interpolation: Annotated[
        bool, typer.Option("--skip-interpolation", help="Leave variables as they are written.")
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print what compose files say together, in long form, with variables put in. No daemon is asked.

    Read as `docker compose config` reads them. Keys that Swarm has nothing for are named on standard error.
    """
    from shoal.cli import stack_commands

    stack_commands.show_config(files, env_files, profiles, form, interpolate=not skip_interpolation)


@app.command()
def deploy(
    context: typer.Context,
    name: NameArgument,
    files: FilesOption = None,
    env_files: EnvFilesOption = None,
    profiles: ProfilesOption = None,
    prune: Annotated[
        bool,
        typer.Option("--prune/--no-prune", help="Remove services, secrets and configs that the files have no more."),
    ] = False,
    resolve: ResolveOption = Resolve.ALWAYS,
    with_auth: Annotated[
        bool,
        typer.Option(
            "--with-registry-auth/--no-with-registry-auth",
            help="Send what `docker login` left to the nodes, to pull with.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if the files have keys that Swarm has nothing for.")
    ] = False,
    detach: DetachOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a stack of compose files, or change it to what they say now.

    All that can be wrong in the files is found before anything is made. The content of a secret or config that changed
    is rolled out: a new object is made, named by its content, the services are moved to it, and the old one is removed
    when nobody uses it. The command waits until all services run, or have completed if they are not started again. It
    fails if one is rolled back, or if tasks failed and are not started again.
    """
    from shoal.cli import stack_commands

    project = stack_commands.project_of(name, files, env_files, profiles)
    how = stack_commands.DeployHow(prune, resolve, with_auth)
    stack_commands.deploy(context.obj(), project, how, strict=strict, detach=detach, quiet=quiet)


@app.command()
def diff(
    context: typer.Context,
    name: NameArgument,
    files: FilesOption = None,
    env_files: EnvFilesOption = None,
    profiles: ProfilesOption = None,
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="Also what --prune would remove.")] = False,
    resolve: ResolveOption = Resolve.ALWAYS,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show what a deploy would change, field by field, and change nothing. The exit code is 1 where it would.

    The content of secrets is not shown.
    """
    from shoal.cli import stack_commands

    project = stack_commands.project_of(name, files, env_files, profiles)
    if stack_commands.show_diff(context.obj(), project, resolve, form, prune=prune):
        raise typer.Exit(1)


@app.command("ls")
def list_stacks(context: typer.Context, form: FormatOption = Format.TEXT, quiet: QuietListOption = False) -> None:
    """List the stacks of the swarm."""
    from shoal.cli import stack_commands

    stack_commands.list_stacks(context.obj(), How(form, quiet))


@app.command()
def services(
    context: typer.Context,
    name: NameArgument,
    form: FormatOption = Format.TEXT,
    quiet: QuietListOption = False,
    no_trunc: NoTruncOption = False,
) -> None:
    """List the services of a stack."""
    from shoal.cli import stack_commands

    stack_commands.list_services(context.obj(), name, How(form, quiet, no_trunc))


@app.command("ps")
def list_tasks(
    context: typer.Context,
    name: NameArgument,
    form: FormatOption = Format.TEXT,
    quiet: QuietListOption = False,
    no_trunc: NoTruncOption = False,
) -> None:
    """List the tasks of a stack; those of the same slot or node newest first."""
    from shoal.cli import stack_commands

    stack_commands.list_tasks(context.obj(), name, How(form, quiet, no_trunc))


@app.command("rm")
def remove(context: typer.Context, names: NamesArgument, detach: DetachOption = False) -> None:
    """Remove stacks: their services, secrets, configs and networks. Volumes stay.

    The command waits until all tasks have ended.
    """
    from shoal.cli import stack_commands

    stack_commands.remove(context.obj(), names, detach=detach)


@app.command()
def logs(
    context: typer.Context,
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    tail: Annotated[
        str, typer.Option("--tail", "-n", metavar="LINES", help="So many last lines of each task.")
    ] = "all",
    since: Annotated[str, typer.Option("--since", metavar="SECONDS", help="Only since then, in Unix time.")] = "",
) -> None:
    """Print what all tasks of a stack wrote, in the order of time, with the task's name before each line."""
    from shoal.cli import stack_files, stack_logs

    stack_logs.show(context.obj(), stack_files.stack_name(name), tail, since, follow=follow)
