"""Checks the addresses of a network. Source: SwarmKit manager/controlapi/network.go."""

import ipaddress

from shoal.api import v1 as api
from shoal.errors import InvalidArgument


def validate_ipam(ipam: api.IPAMOptions) -> None:
    """Raise InvalidArgument for the first invalid subnet, and the first range or gateway outside its subnet."""
    for config in ipam.configs:
        _validate(config)


def _validate(config: api.IPAMConfig) -> None:
    subnet = _interface(config.subnet, f"invalid subnet {config.subnet}").network
    if config.range:
        range_start = _interface(config.range, f"invalid range {config.range}").ip
        if range_start not in subnet:
            raise _invalid(f"subnet {config.subnet} does not contain range {config.range}")
    if config.gateway:
        try:
            gateway = ipaddress.ip_address(config.gateway)
        except ValueError as error:
            raise _invalid(f"invalid gateway {config.gateway}") from error
        if gateway not in subnet:
            raise _invalid(f"subnet {config.subnet} does not contain gateway {config.gateway}")


def _interface(text: str, message: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    if "/" not in text:  # Python reads an address without a length as /32, Docker refuses it
        raise _invalid(message)
    try:
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise _invalid(message) from error


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(f"ipam configuration: {message}")
