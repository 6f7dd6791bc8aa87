"""A stage for demos, on which everything that they leave can be told from everything else on this machine."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.harness.hosts import CGROUPS, REPOSITORY, eventually, patient, run

DEMO = [sys.executable, "-m", "tests.harness.demo"]


class Stage:
    """The place of demos: a folder for temporary files and a network namespace. So all that is left there is theirs."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="shoal-stage-"))
        self.namespace = self.folder.name
        self.processes: list[subprocess.Popen[bytes]] = []
        self.tags: set[str] = set()
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *command]

    def begin(self, *flags: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a demo as a terminal would, in a process group of its own."""
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                self.inside(*DEMO, *flags),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=REPOSITORY,
                env={**os.environ, "TMPDIR": str(self.folder), "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            )
        self.processes.append(process)
        return process

    def play(self, *flags: str, **environment: str) -> int:
        return self.end(self.begin(*flags, **environment))

    def end(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(patient(90))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the demo does not end\n{self.said()}") from None

    def said(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    def reaches(self, process: subprocess.Popen[bytes], step: str, containers: int = 0) -> None:
        """Wait until a demo is in a step and has made this many containers."""

        def there() -> bool:
            assert process.poll() is None, self.said()
            return step in self.said() and len(self.containers()) >= containers

        eventually(there, f"{containers} containers in the step {step!r}", every=0.005, show=self.said)

    def containers(self) -> list[Path]:
        return [path for tag in self.see_tags() for path in CGROUPS.glob(f"pids/shoal-{tag}/*") if path.is_dir()] or [
            path
            for tag in self.tags
            for path in CGROUPS.glob(f"shoal-{tag}/*")
            if path.is_dir() and path.name != "conmon"
        ]

    def see_tags(self) -> set[str]:
        """Return the names that the demos so far gave to what they made outside their folders."""
        for path in (*self.folder.glob("*/data/engine-id"), *self.folder.glob("*/*/data/engine-id")):
            with contextlib.suppress(OSError):
                self.tags.add(path.read_text().strip().replace("-", "")[:8])
        return self.tags

    def left(self) -> list[str]:
        """Return what this stage's demos have left: in its folder, in its network, among all mounts and processes."""
        found = [f"file {path}" for path in self.folder.iterdir()]
        links = run("ip", "-n", self.namespace, "-o", "link").stdout.splitlines()
        found += [f"link {line}" for line in links if not line.startswith("1: lo:")]
        found += [f"nft {line}" for line in run(*self.inside("nft", "list", "tables")).stdout.splitlines()]
        for tag in self.tags:
            found += [f"cgroup {path}" for depth in ("*", "*/*") for path in CGROUPS.glob(f"{depth}{tag}*")]
        for demo in self.processes:
            found += [f"namespace {path.name}" for path in Path("/run/netns").glob(f"shoal-*-{demo.pid}")]
        own = str(self.folder)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if own in (process / "cmdline").read_text(errors="replace"):
                    found.append(f"process {process.name}")
                if own in (process / "mountinfo").read_text():
                    found.append(f"mount in the namespace of {process.name}")
        return found

    def is_empty(self) -> None:
        # The kernel removes network namespaces, and the links into them, with some delay.
        eventually(lambda: not self.left(), "nothing is left", patience=10, show=lambda: "\n".join(self.left()))

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        if any(self.folder.iterdir()):
            environment = {**os.environ, "TMPDIR": str(self.folder)}
            run(*self.inside(*DEMO, "--down"), check=False, cwd=REPOSITORY, env=environment)
        run("ip", "netns", "delete", self.namespace, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder.parent / f"{self.folder.name}.log").unlink(missing_ok=True)
