"""The command line of `shoald`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from shoal import __version__
from shoal.daemon.config import DEFAULT_CONFIG_FILE, LOG_LEVELS, DaemonConfig, combine
from shoal.errors import InvalidArgument


def make_parser() -> argparse.ArgumentParser:
    """Return the parser. Its result has no entry for a flag that was not given."""
    parser = argparse.ArgumentParser(
        prog="shoald",
        description="Shoal's daemon: one on every host of a swarm. Drive it with the docker command.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-H", "--host", dest="hosts", action="append", metavar="URL", help="where the API listens (repeatable)")
    add("--data-root", metavar="DIR", help="folder of the files that must survive a reboot (/var/lib/shoal)")
    add("--exec-root", metavar="DIR", help="folder of the files that need not (/run/shoal)")
    add("-p", "--pidfile", metavar="FILE", help="write the daemon's process id here")
    add("-l", "--log-level", choices=LOG_LEVELS, help="what is logged (info)")
    add("-D", "--debug", action="store_true", help="log at level debug")
    add("--label", dest="labels", action="append", metavar="K=V", help="label of this engine (repeatable)")
    add("-G", "--group", metavar="NAME", help="group of the unix socket (docker, if it exists)")
    add("--metrics-addr", metavar="HOST:PORT", help="serve Prometheus metrics here")
    add("--tls", action="store_true", help="use TLS; implied by --tlsverify")
    add("--tlsverify", action="store_true", help="use TLS and demand a client certificate")
    add("--tlscacert", metavar="FILE", help="the CA that signs clients' certificates")
    add("--tlscert", metavar="FILE", help="the daemon's certificate")
    add("--tlskey", metavar="FILE", help="the daemon's key")
    add("--insecure-registry", dest="insecure_registries", action="append", metavar="HOST", help="registry without TLS")
    add("--default-advertise-addr", metavar="ADDR", help="address for swarm init without --advertise-addr")
    add("--log-driver", metavar="NAME", help="how containers' logs are kept; json-file is the only one")
    add(
        "--log-opt",
        dest="log_opts",
        action="append",
        metavar="K=V",
        help="its options: max-size, max-file (repeatable)",
    )
    add(
        "--node-generic-resource",
        dest="node_generic_resources",
        action="append",
        metavar="KIND=VALUE",
        help="a resource that services can reserve on this host: a name, or a count (repeatable)",
    )
    add(
        "--cdi-spec-dir",
        dest="cdi_spec_dirs",
        action="append",
        metavar="DIR",
        help="folder with CDI files (/etc/cdi and /var/run/cdi; repeatable; empty: no devices)",
    )
    add("--config-file", metavar="FILE", help=f"settings with daemon.json's keys ({DEFAULT_CONFIG_FILE}, if it exists)")
    add("--end-containers", action="store_true", help="end this host's containers and exit; for a host that goes down")
    add("-v", "--version", action="version", version=f"Shoal version {__version__}")
    return parser


def parse(arguments: Sequence[str] | None = None) -> DaemonConfig:
    """Return the settings that the command line and the configuration file give.

    A file that the command line names must exist; the default file need not. Raises InvalidArgument.
    """
    given = vars(make_parser().parse_args(arguments))
    named = given.pop("config_file", None)
    path = Path(named) if named is not None else DEFAULT_CONFIG_FILE
    text = None
    if named is not None or path.exists():
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"unable to configure shoald with file {path}: {error}") from error
    return combine(given, text, str(path))
