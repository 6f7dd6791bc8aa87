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
from shoal.host import linux
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
    """Run `shoald`. Return 0 when it was asked to stop; 1, after a line on stderr, when it cannot go on."""
    errors: list[BaseException] = []
    faulthandler.enable()  # a crash in C code prints a traceback
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
        print(f"shoald: {error}", file=sys.stderr)  # noqa: T201 - for whoever started the daemon
    return 1 if errors else 0


async def _run(config: DaemonConfig) -> None:
    # Secrets and the swarm's keys are in this process's memory, and a core is a file that stays.
    linux.keep_out_of_cores()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # A start makes objects that stay, so a collection would find no garbage. `serving` turns it on again.
    gc.disable()
    # Imported only now, so that --end-containers and a wrong flag need not wait for it.
    from shoal.daemon import daemon

    await daemon.run(config, stop, service.Notifier(os.environ))


def end_containers(config: DaemonConfig) -> int:
    """End this host's containers, because the host goes down. Return 0 if none is left."""
    try:
        tag = tag_of(config.paths.engine_id.read_text().strip())
    except FileNotFoundError:
        return 0  # no daemon has ever run here
    ended = ending.end_all(config.paths, Cgroups(tag))
    log.info("%s containers ended by themselves, %s were killed, %s do not end", ended.asked, ended.killed, ended.left)
    return 1 if ended.left else 0


def set_up_logging(config: DaemonConfig) -> None:
    """Log to stderr, one line per event, with time and level. The journal records both itself and gets neither."""
    level = logging.DEBUG if config.debug else LEVELS[config.log_level]
    handler = logging.StreamHandler(sys.stderr)
    if service.is_journal(sys.stderr.fileno(), os.environ):
        handler.setFormatter(service.JournalFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # At INFO and DEBUG these libraries log frames and sockets, which tells nothing about services.
    for chatty in ("asyncio", "hpack", "h2", "aiohttp", "grpclib"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Return False for aiohttp's log records about clients that send broken HTTP; their tracebacks help nobody."""
    from aiohttp.http_exceptions import HttpProcessingError  # already imported, because aiohttp made the record

    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main())
