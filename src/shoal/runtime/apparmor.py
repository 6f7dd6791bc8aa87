"""The AppArmor profile of containers: its text, loading it, and whether this host's kernel enforces it.

The profile is as strict as Docker's (moby profiles/apparmor). It has its own name, because Docker's only exists once
dockerd has loaded it. In: the kernel's list of profiles, the program that loads one. Out: `Confinement`. Blocking.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import MissingProgram, ShoalError
from shoal.host import programs

NAME = "shoal-default"
UNCONFINED = "unconfined"
PROFILES = Path("/sys/kernel/security/apparmor/profiles")
_PARSER = "apparmor_parser"
_PARSER_WITHIN = 60.0  # seconds; it takes 0.1 s, but much longer on an emulated host

# Everything that is not granted is refused. For example, only unmounting is granted, not mounting. A `deny` rule wins
# over every grant. Paths are those after links were followed, so `/proc/self` is a number. `*` stops at a slash, `**`
# does not.
PROFILE = f"""\
profile {NAME} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  network,
  unix,
  umount,
  deny mount,

  # From outside: whoever is free of profiles (shoald, conmon), and the runtimes where a distribution confines them.
  signal (receive) peer=unconfined,
  signal (receive) peer={{crun,runc}},
  signal (send, receive) peer={NAME},
  ptrace (readby, tracedby) peer=unconfined,
  ptrace (read, readby, trace, tracedby) peer={NAME},

  # Of /proc only processes may be written to, and of the kernel's settings those of shared memory.
  deny /proc/* w,
  deny /proc/[^1-9s]*/** w,
  deny /proc/s[^ey]*/** w,
  deny /proc/sy[^s]*/** w,
  deny /proc/sys?*/** w,
  deny /proc/sys/[^k]*/** w,
  deny /proc/sys/k[^e]*/** w,
  deny /proc/sys/kernel/[^s]* w,
  deny /proc/sys/kernel/s[^h]* w,
  deny /proc/sys/kernel/sh[^m]* w,
  deny /proc/sys/kernel/*/** w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,

  # Of /sys only cgroups, which have bounds of their own.
  deny /sys/{{[^f]*,f[^s]*}}/** wklx,
  deny /sys/fs/{{[^c]*,c[^g]*,cg[^r]*}}/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The AppArmor state of this host. `failure` says why the kernel has AppArmor but not the profile."""

    profile: str = ""  # the loaded profile, or empty
    failure: str = ""

    def of(self, wanted: str) -> str:
        """Return the profile for a container that wants `default` or `disabled`.

        It is a name, UNCONFINED, or empty without AppArmor. Raises ShoalError if the kernel has AppArmor but the
        profile could not be loaded: as in Docker, a container only starts without a profile if it asks for that.
        """
        if wanted == "disabled":
            return UNCONFINED if self.profile or self.failure else ""
        if self.failure:
            raise ShoalError(f"AppArmor enabled on system but the {NAME} profile could not be loaded: {self.failure}")
        return self.profile


def held(found: Confinement, wanted: str, profiles: Path = PROFILES) -> str:
    """Return the profile for a process that starts now in a container, like `Confinement.of`.

    `found` is from the daemon's start. The kernel may have lost the profile since: it is in no file, so
    `aa-remove-unknown` removes it. Then it is loaded again, as dockerd does. Raises ShoalError.
    """
    if wanted == "disabled" or found == Confinement() or (found.profile and NAME in loaded(_listed(profiles))):
        return found.of(wanted)
    again = load(profiles)
    if again == Confinement():
        again = Confinement(failure=f"{_PARSER} is missing by now, or the kernel's list of profiles")
    return again.of(wanted)


def load(profiles: Path = PROFILES) -> Confinement:
    """Load the profile into the kernel. A loaded one is replaced, because it may be from an older release."""
    try:
        profiles.read_bytes()
    except OSError:  # no AppArmor in this kernel, or we may not see it
        return Confinement()
    try:
        parser = programs.find(_PARSER)
    except MissingProgram:
        # Docker also treats such a host like one without AppArmor.
        return Confinement()
    try:
        done = subprocess.run(
            [parser, "--replace", "--skip-cache"],
            input=PROFILE.encode(),
            capture_output=True,
            check=False,
            timeout=_PARSER_WITHIN,
        )
    except subprocess.TimeoutExpired:
        return Confinement(failure=f"{_PARSER} did not end within {_PARSER_WITHIN:.0f} s")
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        return Confinement(failure=said or f"{_PARSER} ended with {done.returncode}")
    if NAME not in loaded(profiles.read_text(errors="replace")):
        return Confinement(failure=f"{_PARSER} ended well, and the kernel does not have it")
    return Confinement(NAME)


def _listed(profiles: Path) -> str:
    try:
        return profiles.read_text(errors="replace")
    except OSError:
        return ""


def loaded(text: str) -> set[str]:
    """Return the enforced profiles in the kernel's list, whose lines are like `docker-default (enforce)`."""
    lines = (line.rpartition(" ") for line in text.splitlines())
    return {name for name, _, mode in lines if mode == "(enforce)"}
