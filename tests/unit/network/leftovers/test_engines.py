"""Which processes say that Docker lives here. A folder of files stands for /proc."""

from pathlib import Path

from shoal.network.leftovers.engines import living, networks_processes, still


def process(proc: Path, name: str, comm: str, *words: str, netns: str = "here") -> None:
    folder = proc / name
    (folder / "ns").mkdir(parents=True)
    (proc / netns).touch()
    (folder / "ns" / "net").symlink_to(proc / netns)
    (folder / "comm").write_text(f"{comm}\n")
    (folder / "cmdline").write_bytes("\0".join(words).encode() + b"\0")


SHIM = ("/usr/bin/containerd-shim-runc-v2", "-namespace")


def test_engines_and_the_shims_of_their_containers_count(tmp_path: Path) -> None:
    process(tmp_path, "thread-self", "shoald")
    process(tmp_path, "11", "dockerd", "/usr/sbin/dockerd")
    process(tmp_path, "12", "containerd-shim", *SHIM, "moby", "-id", "abc")
    process(tmp_path, "13", "dockerd", "dockerd", netns="elsewhere")
    process(tmp_path, "14", "containerd-shim", *SHIM, "k8s.io", "-id", "moby")
    process(tmp_path, "15", "docker", "docker", "run", "dockerd")
    process(tmp_path, "16", "containerd", "containerd", "-namespace", "moby")
    (tmp_path / "17").mkdir()  # it has just ended
    assert sorted(living(tmp_path)) == [11, 12]


def test_a_number_that_is_another_programs_by_now_is_no_engine(tmp_path: Path) -> None:
    process(tmp_path, "11", "bash")
    process(tmp_path, "12", "dockerd")
    assert not still((11, 99), tmp_path)
    assert still((11, 12), tmp_path)


def test_network_processes_say_whose_they_are(tmp_path: Path) -> None:
    words = ("python", "-P", "-m", "shoal.network.process.program", "--folder=/x", "--tag=aaaaaaaa")
    process(tmp_path, "11", "python3", *words)
    process(tmp_path, "12", "python3", "python", "-m", "other", "--tag=bbbbbbbb")
    assert networks_processes(tmp_path) == {"aaaaaaaa"}
