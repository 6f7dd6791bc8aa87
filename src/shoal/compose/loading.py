"""Reads compose files, with what they include and extend, into one project.

In: `Settings`, and `Files` that reads. Out: a `Project`, or a ComposeError. `limits` bounds what it reads and becomes.
"""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shoal.compose import dotenv, reading
from shoal.compose.errors import ComposeError, Place, Warned
from shoal.compose.extending import Extending
from shoal.compose.finishing import finished
from shoal.compose.interpolation import BadTemplate, Variables, substitute
from shoal.compose.keys import FILE
from shoal.compose.kinds import Where, merged, same, without_resets
from shoal.compose.limits import Limits
from shoal.compose.node import Node
from shoal.compose.paths import joined
from shoal.compose.project import SECTIONS, STDIN, Files, Project, Settings

MAX_INCLUDED = 32  # files inside one another
EMPTY = Node({}, Place(""))


def load(settings: Settings, files: Files) -> Project:
    """Return the project that compose files describe. Raises ComposeError."""
    if not settings.files:
        raise ComposeError(Place(""), "", "no compose file was named")
    if settings.files.count(STDIN) > 1:
        raise ComposeError(Place(STDIN), "", "standard input can be read only once")
    return _Loader(settings, files).project()


@dataclass(frozen=True, slots=True)
class _Folder:
    """What the files of one project, or of one include, have in common."""

    base: str
    variables: Mapping[str, str]
    includes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Loader:
    settings: Settings
    files: Files
    limits: Limits = field(init=False)
    warnings: dict[tuple[str, str], Warned] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limits = Limits(self.files)

    def project(self) -> Project:
        settings = self.settings
        first = settings.files[0]
        folder = settings.folder or (settings.here if first == STDIN else posixpath.dirname(self._path(first)))
        folder = joined(settings.here, folder, settings.home)
        variables = {**self._env_files(folder), **settings.environment}
        paths = [path if path == STDIN else self._path(path) for path in settings.files]
        if settings.name:
            variables["COMPOSE_PROJECT_NAME"] = settings.name
        model = without_resets(self._model(paths, _Folder(folder, variables), [None] * len(paths)))
        if not model.entries:
            raise ComposeError(Place(self._shown(paths[-1])), "", "is empty: a compose file has services")
        return finished(model, self.settings, folder, variables, self.limits, list(self.warnings.values()))

    def _path(self, path: str) -> str:
        return joined(self.settings.here, path, self.settings.home)

    def _env_files(self, folder: str) -> dict[str, str]:
        """Return the variables of `.env`, if there is one, or of the files that were named instead."""
        if self.settings.env_files:
            return self._variables([(self._path(path), None) for path in self.settings.env_files], {})
        return self._variables([(posixpath.join(folder, ".env"), None)], {}, required=False)

    def _variables(
        self, paths: Sequence[tuple[str, Node | None]], given: Mapping[str, str], *, required: bool = True
    ) -> dict[str, str]:
        found: dict[str, str] = {}
        for path, named in paths:
            try:
                content = self.limits.content(path, dotenv.MAX_BYTES, named, "env_file" if named else "")
            except ComposeError as error:
                if not required and isinstance(
                    error.__cause__, FileNotFoundError | NotADirectoryError | IsADirectoryError
                ):
                    continue
                raise
            found = dotenv.parse(content, path, {**given, **self.settings.environment}, found)
        return found

    def _model(self, paths: Sequence[str], folder: _Folder, named: Sequence[Node | None]) -> Node:
        model = EMPTY
        for path, by in zip(paths, named, strict=True):
            for document in self._documents(path, folder, by):
                extending = Extending(lambda file, by, key: self._extended(file, folder, by, key), path, self.limits)
                extended = extending.apply(document)
                model = merged(FILE, model, self._with_includes(extended, path, folder))
        return model

    def _documents(self, path: str, folder: _Folder, named: Node | None, key: str = "include") -> list[Node]:
        """Return the documents of a file in canonical form, its own paths absolute."""
        if path == STDIN:
            content, name = self.settings.stdin, "standard input"
        else:
            content, name = self.limits.content(path, reading.MAX_BYTES, named, key), self._shown(path)
        where = Where(folder.base, self.settings.home, self.limits)
        found = [each for each in reading.documents(content, name, self.limits) if each.value is not None]
        variables = Variables(folder.variables)
        return [FILE.read(self._interpolated(each, "", variables), where) for each in found]

    def _shown(self, path: str) -> str:
        """Return a path as short as its reader understands it."""
        return path.removeprefix(self.settings.here.rstrip("/") + "/")

    def _interpolated(self, node: Node, key: str, variables: Variables) -> Node:
        if isinstance(node.value, dict):
            below = f"{key}." if key else ""
            return node.made({k: self._interpolated(v, below + k, variables) for k, v in node.value.items()})
        if isinstance(node.value, list):
            return node.made([self._interpolated(v, f"{key}[{i}]", variables) for i, v in enumerate(node.value)])
        if not isinstance(node.value, str) or "$" not in node.value or not self.settings.interpolate:
            return node

        def missing(name: str) -> None:
            text = f"the variable {name} is not set, and stands for nothing"
            self.warnings.setdefault((node.place.file, name), Warned(node.place, key, text))

        variables.on_missing = missing
        try:
            return node.made(substitute(node.value, variables))
        except BadTemplate as error:
            raise ComposeError(node.place, key, str(error)) from error

    def _extended(self, path: str, folder: _Folder, named: Node, key: str) -> Node:
        """Return the services of a file that is extended."""
        inner = _Folder(posixpath.dirname(path), folder.variables)
        model = EMPTY
        for document in self._documents(path, inner, named, key):
            model = merged(FILE, model, document)
        return model.get("services") or EMPTY

    def _with_includes(self, document: Node, path: str, folder: _Folder) -> Node:
        """Return a file with the resources of what it includes."""
        include = document.get("include")
        if include is None:
            return document
        sections = {
            key: dict(document.entries[key].entries) for key in ("services", *SECTIONS) if key in document.entries
        }
        for number, each in enumerate(include.items):
            model = self._included(each, f"include[{number}]", path, folder)
            for section in ("services", *SECTIONS):
                own = sections.setdefault(section, {})
                for name, found in without_resets(model.get(section) or EMPTY).entries.items():
                    if name in own and not same(own[name], found):
                        where = f"{section}.{name}"
                        raise ComposeError(
                            each.place, f"include[{number}]", f"{where} is in {own[name].named_at} already"
                        )
                    own.setdefault(name, found)
        entries = {key: each for key, each in document.entries.items() if key not in sections and key != "include"}
        entries |= {key: Node(each, document.place) for key, each in sections.items() if each}
        return document.made(entries)

    def _included(self, each: Node, key: str, path: str, folder: _Folder) -> Node:
        settings = self.settings
        named = each.get("path")
        assert named is not None  # the key is required
        paths = [joined(folder.base, one.value, settings.home) for one in named.items]
        if not paths:
            raise ComposeError(each.place, f"{key}.path", "names no file")
        stack = (*folder.includes, path)
        for one, at in zip(paths, named.items, strict=True):
            if one in stack:
                trail = " includes ".join(self._shown(each) for each in (*stack[stack.index(one) :], one))
                raise ComposeError(at.place, key, f"a file includes itself: {trail}")
        if len(stack) > MAX_INCLUDED:
            raise ComposeError(each.place, key, f"includes are nested deeper than {MAX_INCLUDED} files")
        project = each.find("project_directory")
        base = joined(folder.base, project, settings.home) if project else posixpath.dirname(paths[0])
        files = each.get("env_file")
        if files is not None and files.items:
            env = [(joined(folder.base, one.value, settings.home), one) for one in files.items]
            more = self._variables(env, folder.variables)
        else:
            more = self._variables([(posixpath.join(base, ".env"), None)], folder.variables, required=False)
        return self._model(paths, _Folder(base, {**more, **folder.variables}, stack), named.items)
