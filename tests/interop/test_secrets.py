"""Secrets and configs by Docker's own command, on a swarm of one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hosts import Host, eventually
from tests.interop.conftest import IMAGE
from tests.interop.services import create, only, tasks

CANARY = "canary-interop-2b7e"


@pytest.fixture
def clean(swarm: Host) -> Iterator[Host]:
    yield swarm
    for kind in ("service", "secret", "config"):
        found = swarm.docker(kind, "ls", "-q").stdout.split()
        if found:
            swarm.docker(kind, "rm", *found)


@pytest.mark.parametrize("kind", ["secret", "config"])
def test_they_are_made_listed_shown_and_removed(clean: Host, kind: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text(CANARY)
    by_file = clean.docker(kind, "create", "--label", "tier=a", "by-file", str(tmp_path / "data")).stdout.strip()
    by_stdin = clean.docker(kind, "create", "--template-driver", "golang", "by.stdin", "-", input="x").stdout.strip()
    assert re.fullmatch("[0-9a-z]{25}", by_file)
    listed = clean.docker(kind, "ls", "--format", "{{.ID}} {{.Name}}").stdout.splitlines()
    assert sorted(listed) == sorted([f"{by_file} by-file", f"{by_stdin} by.stdin"])
    for filters, found in (("name=by-f", by_file), (f"id={by_stdin[:9]}", by_stdin), ("label=tier=a", by_file)):
        assert clean.docker(kind, "ls", "-q", "--filter", filters).stdout.split() == [found]
    shown = json.loads(clean.docker(kind, "inspect", "by-file").stdout)[0]
    assert (shown["ID"], shown["Spec"]["Labels"]) == (by_file, {"tier": "a"})
    assert shown["Spec"].get("Data") == (None if kind == "secret" else "Y2FuYXJ5LWludGVyb3AtMmI3ZQ==")
    template = json.loads(clean.docker(kind, "inspect", by_stdin[:12]).stdout)[0]["Spec"]["Templating"]
    assert template["Name"] == "golang"
    pretty = clean.docker(kind, "inspect", "--pretty", "by-file").stdout
    for words in (by_file, "by-file", "tier=a", "Created at:"):
        assert words in pretty
    assert (CANARY in pretty) is (kind == "config")
    assert clean.docker(kind, "rm", "by-file", by_stdin).stdout.split() == ["by-file", by_stdin]
    assert clean.docker(kind, "ls", "-q").stdout == ""


@pytest.mark.parametrize("kind", ["secret", "config"])
def test_mistakes_are_told_in_dockers_words(clean: Host, kind: str) -> None:
    clean.docker(kind, "create", "there", "-", input="x")
    rule = "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed"
    for words, data, text in (
        (("create", "there", "-"), "y", f"{kind} there already exists"),
        (("create", "-x", "-"), "y", ""),  # a flag to the command
        (("create", "x-", "-"), "y", rule),
        (("create", "a" * 65, "-"), "y", rule),
        (("create", "empty", "-"), "", "data is empty"),  # the command itself
        (("inspect", "nowhere"), "", "nowhere"),
        (("rm", "nowhere"), "", "nowhere"),
    ):
        done = clean.docker(kind, *words, check=False, input=data)
        assert done.returncode, words
        assert text in done.stderr, done.stderr
    refused = clean.docker("service", "create", "-d", "--no-resolve-image", f"--{kind}", "nowhere", IMAGE, check=False)
    assert f"{kind} not found: nowhere" in refused.stderr
    create(clean, "user", f"--{kind}", "there", "--no-resolve-image")
    in_use = clean.docker(kind, "rm", "there", check=False)
    assert in_use.returncode == 1
    assert f"{kind} 'there' is in use by the following service: user" in in_use.stderr


def test_a_secret_of_a_driver_is_refused_as_by_an_engine_without_the_plugin(clean: Host) -> None:
    done = clean.docker("secret", "create", "--driver", "vault", "x", check=False)
    assert done.returncode == 1
    assert 'plugin "vault" not found' in done.stderr


def test_they_are_added_and_removed_by_updates(clean: Host) -> None:
    for kind in ("secret", "config"):
        clean.docker(kind, "create", "one", "-", input=f"{kind}-one")
        clean.docker(kind, "create", "two", "-", input=f"{kind}-two")
    create(clean, "app", "--secret", "one", "--config", "source=one,target=/etc/conf,mode=0400")
    assert clean.docker("exec", only(clean, "app"), "cat", "/run/secrets/one", "/etc/conf").stdout == (
        "secret-oneconfig-one"
    )
    quick = ("service", "update", "--no-resolve-image", "--quiet")
    clean.docker(*quick, "--secret-rm", "one", "--secret-add", "source=two,target=one",
                 "--config-rm", "one", "--config-add", "two", "app")  # fmt: skip
    assert clean.docker("exec", only(clean, "app"), "cat", "/run/secrets/one", "/two").stdout == "secret-twoconfig-two"
    clean.docker(*quick, "--secret-rm", "two", "--config-rm", "two", "app")
    gone = clean.docker("exec", only(clean, "app"), "ls", "/run/secrets", "/two", check=False)
    assert "/two: No such file" in gone.stderr
    for kind in ("secret", "config"):
        clean.docker(kind, "rm", "one")  # neither the present spec nor a rollback uses it
        refused = clean.docker(kind, "rm", "two", check=False)
        assert "a rollback of app would need it" in refused.stderr


def test_known_fault_48_and_53_a_stack_of_them_is_deployed_again_without_a_new_task(
    clean: Host, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(CANARY)
    names = [f"s{number}" for number in range(6)]
    listed = "\n".join(f"      - {name}" for name in names)
    made = "\n".join(f"  {name}:\n    file: ./key" for name in names)
    (tmp_path / "stack.yml").write_text(
        f"""version: "3.7"
services:
  app:
    image: {IMAGE}
    command: sleep 1d
    stop_signal: SIGKILL
    secrets:
{listed}
    configs:
      - source: conf
        target: /conf
secrets:
{made}
configs:
  conf:
    file: ./key
"""
    )
    deploy = ("stack", "deploy", "--resolve-image", "never", "-c", str(tmp_path / "stack.yml"), "st")
    clean.docker(*deploy)
    eventually(lambda: len(running_tasks(clean)) == 1, "it runs", show=clean.log)
    said = clean.docker("exec", only(clean, "st_app"), "sh", "-c", "cd /run/secrets; stat -c '%n %a' *").stdout
    assert said.splitlines() == [f"{name} 444" for name in names]
    first = tasks(clean, "st_app")
    for _ in range(4):
        clean.docker(*deploy)
    assert [task["ID"] for task in tasks(clean, "st_app")] == [task["ID"] for task in first]
    (tmp_path / "key").write_text("changed")
    done = clean.docker(*deploy, check=False)
    # Known fault 47: never neither rolled out nor refused.
    assert done.returncode == 1
    assert "only updates to Labels are allowed" in done.stderr
    clean.docker("stack", "rm", "st")
    assert clean.docker("secret", "ls", "-q").stdout == clean.docker("config", "ls", "-q").stdout == ""


def running_tasks(host: Host) -> list[str]:
    return [task["ID"] for task in tasks(host, "st_app") if task["Status"]["State"] == "running"]
