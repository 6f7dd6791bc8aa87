"""Plays the steps on the machine that script/test-vm made, and prints how long each took. The exit code is 0 if all
went well.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.vm.machine import Failed, Machine
from tests.vm.steps import STEPS


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/test-vm", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, default=Path("/var/cache/shoal-vm"))
    parser.add_argument("--list", action="store_true", help="the steps' names")
    parser.add_argument("--keep", action="store_true", help="leave the machine on after a failure, until Enter")
    parser.add_argument("--again", action="store_true", help="with the disk as the last run left it")
    parser.add_argument("steps", nargs="*", metavar="STEP", help="these alone")
    given = parser.parse_args()
    if unknown := set(given.steps) - {step.__name__ for step in STEPS}:
        parser.error(f"no such step: {', '.join(sorted(unknown))} (--list tells them)")
    if given.list:
        for step in STEPS:
            print(f"{step.__name__:26} {(step.__doc__ or '').splitlines()[0]}")
        return 0
    with Machine(given.folder) as vm:
        began = time.monotonic()
        vm.boot()
        print(f"{'power-on to login':26} {time.monotonic() - began:6.1f} s", flush=True)
        if given.again:
            vm.renew()
        for step in STEPS:
            if given.steps and step.__name__ not in given.steps:
                continue
            began = time.monotonic()
            try:
                found = step(vm)
            except Failed as error:
                print(f"{step.__name__:26} FAILED after {time.monotonic() - began:.1f} s\n{error}", flush=True)
                print(
                    vm.run("journalctl -b -u shoald -o short --no-pager | tail -40", check=False, patience=120).output
                )
                if given.keep:
                    input("the machine is still on; Enter switches it off ")
                return 1
            print(f"{step.__name__:26} {time.monotonic() - began:6.1f} s  {found}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
