"""The steps that are played on the machine, in order. Each leaves the machine as the next one needs it, or fails with
what it saw.
"""

import re
import shlex
import time
from collections.abc import Callable

from tests.vm.machine import PATIENCE, Failed, Machine, eventually

INSIDE = PATIENCE / 2  # SHOAL_PATIENCE of what waits inside: an emulated processor is ten to a hundred times slower

# The parts of the host that must be the same before and after, without those that systemd makes and removes by itself.
SNAPSHOT = r"""
echo "== mounts"; awk '{print $5, $9}' /proc/self/mountinfo | grep -v -E 'credentials|/run/user/|binfmt_misc' | sort
echo "== cgroups"
find /sys/fs/cgroup -maxdepth 1 -type d | sort; ls -d /sys/fs/cgroup/system.slice/{shoal,docker,etcd}* 2>/dev/null
echo "== network namespaces"; ls /run/netns 2>/dev/null; lsns -t net -o NS --noheadings
echo "== tables"; nft list tables
echo "== links"; ip -br link | awk '{print $1}'
echo "== processes"; ps -eo args | grep -E 'shoal|conmon|etcd|crun' | grep -v -E 'grep|bash -s'
echo "== files"; ls -d /run/shoal* /var/lib/shoal* /opt/shoal* /etc/shoal* /usr/local/bin/* /etc/systemd/system/shoal* \
  /etc/systemd/system/*.wants/shoal* /tmp/shoal* 2>/dev/null
true"""
# Also without what stays in the kernel after a daemon has ended, as with dockerd, because its containers may go on
# using it.
APPARMOR = "/sys/kernel/security/apparmor"
PROFILES = f"echo '== profiles'; grep -F shoal {APPARMOR}/profiles; true"

# The id and pid of each container of a service.
PIDS = """for c in $(docker ps -q --no-trunc --filter label=com.docker.swarm.service.name={0} | sort); do
echo "$c $(docker inspect -f '{{{{.State.Pid}}}}' $c)"; done"""

# A container that ends with its host as its owner wants: by its own signal, with some time, while the network is there.
POLITE = (
    "trap 'ping -c 1 -W 5 {gateway} > /shared/ping 2>&1; echo $? > /shared/network; sleep 2; echo done > /shared/end; "
    "exit 0' USR1; touch /shared/up; while :; do sleep 0.2; done"
)
# What AppArmor refuses to a process of root on the host, with all capabilities and nothing mounted read-only.
REFUSED = (
    "echo x > /proc/sys/kernel/core_pattern", "echo x >> /proc/sys/kernel/core_pattern",
    "echo 1 > /proc/sys/net/ipv4/ip_forward", "echo 0 > /proc/sys/vm/drop_caches", "echo h > /proc/sysrq-trigger",
    "head -c 1 /proc/kcore", "busybox mount -t tmpfs none /mnt", "echo mem > /sys/power/state",
    "echo 0 > /sys/block/vda/queue/iostats", "cat /sys/kernel/security/apparmor/profiles",
    "ls /sys/firmware/acpi/tables/", "kill -0 1",
)  # fmt: skip
ALLOWED = (
    "cat /proc/cpuinfo", "cat /proc/sys/kernel/core_pattern", "echo 4096 > /proc/sys/kernel/shmmni",
    "echo 0 > /proc/self/oom_score_adj", "touch /root/x && rm /root/x", "ip link show lo",
    "sh -c 'sleep 5 & kill $!'",
)  # fmt: skip


def expect(holds: object, what: str, seen: object = "") -> None:
    """Raise Failed unless a condition is true."""
    if not holds:
        raise Failed(f"{what}\n{seen}".rstrip())


def boots(vm: Machine) -> str:
    """The bare machine is well, and runs no service that script/bootstrap installed only for its programs."""
    eventually(lambda: vm.run("systemctl is-system-running --wait", check=False).code == 0, "systemd is content")
    units = "etcd docker docker.socket containerd docker-registry"
    for unit, state in zip(
        units.split(), vm.run(f"systemctl is-enabled {units}", check=False).output.split(), strict=True
    ):
        expect(
            state != "enabled", f"{unit} begins with the host, for whose program alone its package was installed", state
        )
    expect(vm.run(f"systemctl is-active {units}", check=False).output.split().count("active") == 0, "none of them runs")
    return f"kernel {vm.ask('uname -r')}, up {vm.ask('cut -d. -f1 /proc/uptime')} s after power-on"


def plays_the_demo(vm: Machine) -> str:
    """README's first command works, and leaves nothing."""
    before = vm.ask(SNAPSHOT)
    done = vm.run(f"cd /root/shoal && SHOAL_PATIENCE={INSIDE} script/demo", patience=3 * PATIENCE)
    expect("hello from" in done.output, "the demo's service answers", done.output)
    _compare(before, vm.ask(SNAPSHOT), "after the demo")
    return ""


def plays_the_demo_of_many(vm: Machine) -> str:
    """README's second command works."""
    before = vm.ask(SNAPSHOT)
    vm.run(f"cd /root/shoal && SHOAL_PATIENCE={INSIDE} script/demo --nodes 3+2", patience=5 * PATIENCE)
    _compare(before, vm.ask(SNAPSHOT), "after the demo of many")
    return ""


def installs(vm: Machine) -> str:
    """script/install ends when the API serves, and README's first swarm works."""
    # As on a host that never had a shoald: the profile of the demos is removed first, so that uninstalling must remove
    # the daemon's own.
    vm.run(f"! grep -q '^shoal-default ' {APPARMOR}/profiles || printf shoal-default > {APPARMOR}/.remove")
    vm.run(f"cat > /root/snapshot <<'END'\n{SNAPSHOT}\n{PROFILES}\nEND\nbash /root/snapshot > /root/before")
    before = vm.ask("cat /root/before")
    expect("shoal-default" not in before, "no profile of ours is loaded", before)
    began = time.monotonic()
    vm.run("cd /root/shoal && script/install", patience=3 * PATIENCE)
    took = time.monotonic() - began
    # Checked at once, because systemd said that it has started.
    vm.run("docker version >/dev/null && systemctl is-active --quiet shoald shoald-containers")
    shown = vm.ask("systemctl show shoald -p Type,KillMode,Restart,StartLimitIntervalUSec,NRestarts,StatusText")
    for line in ("Type=notify", "KillMode=process", "Restart=always", "StartLimitIntervalUSec=0", "NRestarts=0"):
        expect(line in shown.splitlines(), f"the unit says {line}", shown)
    expect("serves on unix:///run/shoal/shoal.sock" in shown, "systemctl status says where it serves", shown)
    for unit in ("shoald.service", "shoald-containers.service"):
        said = vm.run(f"systemd-analyze verify /etc/systemd/system/{unit}", check=False)
        expect(said.code == 0 and not said.output.strip(), f"systemd finds nothing wrong with {unit}", said.output)
    vm.run(
        'cd /root && /root/shoal/.venv/bin/python -c \'import sys; sys.path.insert(0, "/root/shoal"); '
        'from tests.harness.images import busybox_rootfs; open("rootfs.tar", "wb").write(busybox_rootfs())\'\n'
        "docker swarm init && docker import rootfs.tar web &&\n"
        "docker service create --name web --replicas 3 web httpd -f -p 80 && docker service ps web"
    )
    vm.run("docker service scale --detach web=10")
    _full(vm, "web", 10)
    return f"script/install {took:.0f} s"


def confines(vm: Machine) -> str:
    """Containers are held to our AppArmor profile, and info and inspect say so."""
    container = vm.ask("docker ps -q | head -1")
    held = vm.ask(f"cat /proc/$(docker inspect -f '{{{{.State.Pid}}}}' {container})/attr/current")
    expect(held == "shoal-default (enforce)", "the container's process is confined", held)
    inside = vm.ask(f"docker exec {container} cat /proc/self/attr/current")
    expect(inside == "shoal-default (enforce)", "so is a command in it", inside)
    shown = vm.ask(
        f"docker inspect -f '{{{{.AppArmorProfile}}}}' {container}; docker info -f '{{{{.SecurityOptions}}}}'"
    )
    expect("shoal-default" in shown and "name=apparmor" in shown, "inspect and info say so", shown)
    for command in REFUSED:
        done = vm.run(f"aa-exec -p shoal-default -- bash -c {shlex.quote(command)}", check=False)
        expect(done.code and "ermission denied" in done.output, f"the profile refuses: {command}", done)
    for command in ALLOWED:
        done = vm.run(f"aa-exec -p shoal-default -- bash -c {shlex.quote(command)}", check=False)
        expect(done.code == 0, f"the profile allows: {command}", done)
    # Somebody removes the profile. Nothing may start without it.
    vm.run(f"printf shoal-default > {APPARMOR}/.remove; ! grep -q '^shoal-default ' {APPARMOR}/profiles")
    inside = vm.ask(f"docker exec {container} cat /proc/self/attr/current")
    expect(inside == "shoal-default (enforce)", "a command in a container brings a lost profile back", inside)
    vm.run(f"printf shoal-default > {APPARMOR}/.remove")
    vm.run("docker service update --force --quiet --update-parallelism 10 web")
    container = vm.ask("docker ps -q | head -1")
    held = vm.ask(f"cat /proc/$(docker inspect -f '{{{{.State.Pid}}}}' {container})/attr/current")
    expect(held == "shoal-default (enforce)", "so does a container that starts", held)
    vm.run("docker exec $(docker ps -q | head -1) sh -c 'sleep 100 & kill $!; ps >/dev/null; ping -c 1 127.0.0.1'")
    return f"{len(REFUSED)} things refused, {len(ALLOWED)} allowed"


def outlives_its_daemon(vm: Machine) -> str:
    """No container notices a restart, a stop, a signal to the unit, or six kills one after another."""
    before = vm.ask(PIDS.format("web"))
    expect(len(before.splitlines()) == 10, "ten containers run", before)
    pids = [line.split()[1] for line in before.splitlines()]

    def same(after: str) -> None:
        """Check that all ten still run, and that the daemon knows them."""
        seen = vm.ask(f"for p in {' '.join(pids)}; do [ -d /proc/$p ] || echo dead $p; done")
        expect(not seen, f"containers run on after {after}", seen)
        eventually(lambda: vm.run("docker version", check=False).code == 0, f"the API answers after {after}")
        expect(vm.ask(PIDS.format("web")) == before, f"the same containers after {after}", vm.ask(PIDS.format("web")))

    took = _seconds(vm, "systemctl restart shoald")
    vm.run("docker version")  # at once, because systemd waited for it
    same("systemctl restart")
    vm.run("systemctl stop shoald; sleep 10; ! pgrep -x etcd")
    expect(not vm.ask(f"for p in {' '.join(pids)}; do [ -d /proc/$p ] || echo dead $p; done"), "they outlive a stop")
    vm.run("systemctl start shoald")
    same("systemctl stop and start")
    vm.run("systemctl kill shoald")
    same("systemctl kill")
    eventually(lambda: vm.ask("systemctl is-active shoald || true") == "active", "shoald runs again")
    for _ in range(6):
        vm.run("kill -9 $(systemctl show -P MainPID shoald); sleep 1.6")
    eventually(
        lambda: vm.ask("systemctl is-active shoald || true") == "active", "shoald is started again after six kills"
    )
    same("six kills")
    container = before.split()[0]
    vm.run(f"docker exec {container} true && docker service logs --raw web >/dev/null && docker service ps web")
    _full(vm, "web", 10)
    journal = vm.ask("journalctl -b -u shoald -o cat --no-pager")
    for bad in (r".*conmon.*", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ .*"):
        found = re.findall(f"^{bad}$", journal, re.MULTILINE)
        expect(not found, f"{len(found)} lines of the journal are like {bad}", found[:3])
    return f"systemctl restart {took:.1f} s"


def goes_down_and_comes_back(vm: Machine) -> str:
    """At a reboot each container gets its own signal and time, with a network. Afterwards the old ones show 255."""
    gateway = vm.ask("docker network inspect bridge -f '{{(index .IPAM.Config 0).Gateway}}'")
    vm.run(
        "mkdir -p /root/shared && docker service create --detach --name polite --stop-signal USR1 "
        "--mount type=bind,src=/root/shared,dst=/shared --restart-condition on-failure "
        f"web sh -c {shlex.quote(POLITE.format(gateway=gateway))}"
    )
    eventually(lambda: vm.run("test -e /root/shared/up", check=False).code == 0, "the polite one has set its trap")
    old = vm.ask("docker ps -q | sort").split()
    boot = vm.ask("cat /proc/sys/kernel/random/boot_id")
    began = time.monotonic()
    vm.run("systemctl reboot", check=False)
    eventually(lambda: vm.run("true", check=False, patience=30).code != 0, "the machine goes down", every=0.2)
    eventually(
        lambda: (
            vm.run("cat /proc/sys/kernel/random/boot_id", check=False, patience=60).output.strip() not in ("", boot)
        ),
        "the machine is up again",
        2 * PATIENCE,
    )
    took = time.monotonic() - began
    expect(vm.ask("cat /root/shared/end") == "done", "it ended by its own signal, in its own time")
    expect(
        vm.ask("cat /root/shared/network") == "0", "its network was there until then", vm.ask("cat /root/shared/ping")
    )
    ending = _ending(vm)
    eventually(lambda: vm.run("docker version", check=False).code == 0, "the API answers")
    _full(vm, "web", 10)
    _full(vm, "polite", 1)  # it ended well, with its host, and must be started all the same
    for container in old:
        said = vm.run(f"docker inspect -f '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}' {container}", check=False)
        gone = "No such" in said.output  # by now more tasks than a slot's history has
        expect(gone or said.output.strip() == "exited 255", f"{container} says how it ended", said.output)
    expect(vm.ask("docker ps -a --filter exited=255 -q"), "old containers are shown as Exited (255)")
    expect(
        vm.ask("systemctl is-system-running --wait || systemctl --failed --no-legend") == "running",
        "systemd is content",
    )
    expect(
        vm.ask("cat /proc/$(docker inspect -f '{{.State.Pid}}' $(docker ps -q | head -1))/attr/current")
        == "shoal-default (enforce)",
        "containers are confined after a boot, without a dockerd",
    )
    return f"{took:.0f} s to the next login, {ending}"


def _ending(vm: Machine) -> str:
    """Return in which order the last boot ended, by its journal, and how long that took."""
    lines = vm.ask("journalctl -b -1 -o short-monotonic --no-pager | tail -300").splitlines()

    def at(text: str) -> float:
        found = [line for line in lines if text in line]
        expect(found, f"the journal of the last boot has a line {text!r}", "\n".join(lines[-60:]))
        return float(found[-1].split("]")[0].strip("[ "))

    daemon, containers = at("Stopped shoald.service"), at("Stopped shoald-containers.service")
    network = at("Stopping networking.service")
    expect(
        daemon <= containers < network, "shoald ends, then containers, then the network", (daemon, containers, network)
    )
    expect(any("were killed" in line for line in lines), "what was ended is in the journal")
    asked = at("Stopped target multi-user.target")
    return f"containers had ended after {containers - asked:.0f} s, the network went after {network - asked:.0f} s"


def is_uninstalled(vm: Machine) -> str:
    """It refuses while containers run. After `swarm leave` the host is as it was before."""
    done = vm.run("cd /root/shoal && script/install --uninstall", check=False)
    expect(
        done.code == 1 and "swarm leave --force" in done.output, "it names the way while containers run", done.output
    )
    vm.run("docker swarm leave --force")
    eventually(lambda: not vm.ask("docker ps -aq"), "leaving removes every container")
    other = vm.ask("aa-exec -p shoal-default -- sleep 1d >/dev/null 2>&1 & echo $!")  # as a container of another shoald
    left = vm.ask("cd /root/shoal && script/install --uninstall")
    held = vm.ask(f"cat /proc/{other}/attr/current; kill {other}")
    expect("it was left" in left and held == "shoal-default (enforce)", "who uses the profile keeps it", (left, held))
    vm.run("cd /root/shoal && script/install --uninstall")
    vm.run("rm -rf /var/lib/shoal /run/shoal")
    _compare(vm.ask("cat /root/before"), vm.ask("bash /root/snapshot"), "after its removal")
    return ""


def encrypts_overlays(vm: Machine) -> str:
    """Two hosts in namespaces, over ESP: this kernel has what that of most tests lacks."""
    command = ".venv/bin/python -m pytest -q -n 0 --color=no tests/cluster/test_encryption.py"
    said = vm.run(f"cd /root/shoal && SHOAL_PATIENCE={INSIDE} {command}", patience=2 * PATIENCE).output
    expect("skipped" not in said, "none of its tests is skipped here", said)
    return said.splitlines()[-1]


def publishes_ports(vm: Machine) -> str:
    """Ports of hosts and of the mesh: this kernel has SCTP, and takes the program that lets them answer over IPv6."""
    tests = (
        "tests/unit/network/host_ports/test_holding.py tests/cluster/test_host_ports6.py tests/cluster/test_mesh6.py"
    )
    command = f"modprobe sctp && .venv/bin/python -m pytest -q -n 0 --color=no {tests}"
    said = vm.run(f"cd /root/shoal && export SHOAL_PATIENCE={INSIDE} && {command}", patience=2 * PATIENCE).output
    expect("skipped" not in said, "none of its tests is skipped here", said)
    return said.splitlines()[-1]


def passes_its_tests(vm: Machine) -> str:
    """The runtime's and the CLI's tests pass on Debian's own kernel."""
    done = vm.run(
        "cd /root/shoal && TMPDIR=$(mktemp -d /tmp/s.XXXX) && export TMPDIR && chmod 711 $TMPDIR\n"
        f"export SHOAL_PATIENCE={INSIDE}\n"
        f".venv/bin/pytest -q --timeout={PATIENCE:.0f} --basetemp=$TMPDIR/p tests/cluster/test_runtime_containers.py "
        "tests/cluster/test_runtime_ending.py tests/cluster/test_faults_escape.py tests/interop/test_docker_cli.py "
        "tests/interop/test_scripts.py </dev/null",
        check=False,
        patience=6 * PATIENCE,
    )
    expect(done.code == 0, "they pass", done.output[-8000:])
    return done.output.strip().splitlines()[-1]


STEPS: tuple[Callable[[Machine], str], ...] = (
    boots,
    plays_the_demo,
    plays_the_demo_of_many,
    installs,
    confines,
    outlives_its_daemon,
    goes_down_and_comes_back,
    is_uninstalled,
    encrypts_overlays,
    publishes_ports,
    passes_its_tests,
)


def _full(vm: Machine, service: str, count: int) -> None:
    """Wait until a service has all its tasks."""
    eventually(
        lambda: (
            vm.run(f"docker service ls -f name={service} --format '{{{{.Replicas}}}}'", check=False).output.strip()
            == f"{count}/{count}"
        ),
        f"{service} has {count} tasks",
    )


def _seconds(vm: Machine, command: str) -> float:
    """Return how long a command takes, by the machine's own clock."""
    return (
        float(vm.ask(f"s=$(date +%s%N); {command} && echo $(( ($(date +%s%N) - s) / 1000000 ))").splitlines()[-1])
        / 1000
    )


def _compare(before: str, after: str, when: str) -> None:
    one, other = before.splitlines(), after.splitlines()
    changes = [f"- {line}" for line in one if line not in other] + [f"+ {line}" for line in other if line not in one]
    expect(not changes, f"the host {when} differs from the host before", "\n".join(changes))
