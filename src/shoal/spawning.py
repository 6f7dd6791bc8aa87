"""Starts programs in such a way that none of them inherits what another is meant to have.

Shortly before uvloop starts a child, the child's ends of its pipes are inheritable. A thread that starts a program by
posix_spawn in that moment gives them to that program as well. If it is one that stays, such as conmon, whoever reads
the child's output waits for its end for as long as that container lives. So one program is started at a time.
"""

import asyncio
import os
import threading
from typing import Any

alone = threading.RLock()
"""Whoever makes descriptors inheritable, or starts a program by posix_spawn, holds this. Python's `subprocess` needs no
lock, because its children close what they were not given. It can be taken again by the thread that has it, because on
the event loop the next start may begin before the last one has returned."""


async def start(*command: str | os.PathLike[str], **options: Any) -> asyncio.subprocess.Process:
    """Start a program with `asyncio.create_subprocess_exec`, and its options."""
    with alone:
        return await asyncio.create_subprocess_exec(*command, **options)  # noqa: TID251 - here it is safe
