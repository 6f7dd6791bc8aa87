import subprocess
import sys

# prctl's number 3 is PR_GET_DUMPABLE. A child that runs another program has cores again.
PROGRAM = """
import ctypes, subprocess, sys
from shoal.host import linux
dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
before, kept_out = dumpable(), linux.keep_out_of_cores()
child = subprocess.run([sys.executable, "-c", "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"],
                       capture_output=True, text=True, check=True)
print(before, kept_out, dumpable(), child.stdout.strip())
"""


def test_a_process_keeps_itself_out_of_cores_and_its_programs_not() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    # An ordinary user lacks the capability, and nothing changes.
    assert done.stdout.split() in (["1", "True", "0", "1"], ["1", "False", "1", "1"])
