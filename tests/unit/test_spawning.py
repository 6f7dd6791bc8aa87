"""Children of uvloop beside programs that threads start."""

import json
import subprocess
import sys

# Just before uvloop forks, another thread starts a program that stays: the worst moment. It gets 0.5 s for that, which
# it does not use up unless it has to wait, as it should.
PROGRAM = """
import asyncio, json, os, threading
from pathlib import Path
import uvloop
from shoal import spawning
from shoal.runtime import processes

stayed, done = [], threading.Event()

def stay():
    with open(os.devnull, "r+b") as null:
        stayed.append(processes.spawn(["/bin/sleep", "600"], {}, dict.fromkeys((0, 1, 2), null.fileno())))
    done.set()

def meanwhile():
    thread = threading.Thread(target=stay)
    thread.start()
    threads.append(thread)
    done.wait(0.5)

async def main():
    os.register_at_fork(before=meanwhile)
    pipe = asyncio.subprocess.PIPE
    child = await spawning.start("/bin/true", stdin=pipe, stdout=pipe, stderr=pipe)
    await child.wait()
    threads[0].join()
    with stayed[0] as one:
        # It goes on as another program before it closes what that one shall not have, and has its name after.
        while Path(f"/proc/{one.pid}/comm").read_text() != "sleep\\n":
            await asyncio.sleep(0.001)
        print(json.dumps([os.readlink(held) for held in Path(f"/proc/{one.pid}/fd").iterdir()]))

threads = []
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


def test_a_program_inherits_nothing_of_a_child_that_is_started_at_the_same_time() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["/dev/null"] * 3
