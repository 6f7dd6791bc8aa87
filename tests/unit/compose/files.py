"""Files in memory, for the loader."""

from shoal.compose.loading import load
from shoal.compose.project import Project, Settings

HERE, HOME = "/project", "/home/me"


class Memory:
    """Files by path; a relative one is in HERE."""

    def __init__(self, files: dict[str, str | bytes]) -> None:
        self._files = {name if name.startswith("/") else f"{HERE}/{name}": content for name, content in files.items()}

    def read(self, path: str, longest_bytes: int) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(2, "No such file or directory")
        content = self._files[path]
        return (content.encode() if isinstance(content, str) else content)[: longest_bytes + 1]


def project(text: str, *more: str, files: dict[str, str | bytes] | None = None, **environment: str) -> Project:
    """Return the project of one compose file, with others laid over it."""
    texts = {f"{number or 'compose'}.yaml": each for number, each in enumerate((text, *more))}
    return load(Settings(list(texts), environment, HERE, HOME, name="p"), Memory({**texts, **(files or {})}))


def service(text: str, *more: str, **environment: str) -> dict[str, object]:
    """Return the service `web`, whose keys are given, in canonical form."""
    texts = [f"services:\n  web: {{{each}}}\n" for each in (f"image: a, {text}", *more)]
    found = project(*texts, files=None, **environment).canonical()["services"]["web"]
    return {key: each for key, each in found.items() if key not in ("image", "networks")}
