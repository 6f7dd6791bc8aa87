"""`shoald`: reads its flags, sets up logging and signals, and runs the daemon."""

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence

import uvloop

from shoal.daemon import flags, service
from shoal.daemon.config import DaemonConfig
from shoal.errors import ShoalError
from shoal.paths import tag_of
from shoal.runtime import ending
from shoal.runtime.cgroups import Cgroups

log = logging.getLogger("shoal.daemon")

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `shoald` to its end: 0 when it was asked to stop, 1 with one line on stderr when it cannot go on."""
    errors: list[BaseException] = []
    faulthandler.enable()  # a crash below Python says where it was
    try:
        config = flags.parse(arguments)
        set_up_logging(config)
        if config.end_containers:
            return end_containers(config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(config))
    except* (ShoalError, OSError) as group:
        errors = _leaves(group)
    for error in errors:
        print(f"shoald: {error}", file=sys.stderr)  # noqa: T201 - whoever started it reads this, not the log
    return 1 if errors else 0


async def _run(config: DaemonConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What a start makes stays, so that looking for garbage in it finds none; `daemon` begins with that when it serves.
    gc.disable()
    # Only where there is to be a daemon: to end containers, or to be told of a wrong flag, nobody waits for all of it.
    from shoal.daemon import daemon

    await daemon.run(config, stop, service.Notifier(os.environ))


def end_containers(config: DaemonConfig) -> int:
    """End this host's containers, as a host that goes down must: 0 when none is left."""
    try:
        tag = tag_of(config.paths.engine_id.read_text().strip())
    except FileNotFoundError:
        return 0  # no daemon has ever run here
    ended = ending.end_all(config.paths, Cgroups(tag))
    log.info("%s containers ended by themselves, %s were killed, %s do not end", ended.asked, ended.killed, ended.left)
    return 1 if ended.left else 0


def set_up_logging(config: DaemonConfig) -> None:
    """Log to stderr, one line an event: with time and level, unless that is the journal, which keeps its own."""
    level = logging.DEBUG if config.debug else LEVELS[config.log_level]
    handler = logging.StreamHandler(sys.stderr)
    if service.is_journal(sys.stderr.fileno(), os.environ):
        handler.setFormatter(service.JournalFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # What these say at INFO and DEBUG is about frames and sockets, not about anything a person runs.
    for chatty in ("asyncio", "hpack", "h2", "aiohttp", "grpclib"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Return whether aiohttp tells of more than a client that speaks no HTTP, whose traceback helps nobody."""
    from aiohttp.http_exceptions import HttpProcessingError  # loaded: it was aiohttp that logs

    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main())
