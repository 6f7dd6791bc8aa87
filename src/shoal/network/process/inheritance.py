"""What a program leaves to the one that takes its place, or gives to one that it starts: values, and open descriptors.

It is a file without a name, whose number the other is told: JSON with the values and the numbers of the descriptors.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from shoal.network.process.parts import Legacy

INHERIT = "--inherit"  # the option with the file's number


def inherited(number: int) -> Legacy:
    """Read what a former program left. ValueError, KeyError when it is not what one leaves."""
    with open(number, "rb") as file:
        file.seek(0)
        left = json.load(file)
    return Legacy(dict(left["values"]), {name: int(fd) for name, fd in left["descriptors"].items()})


def bequest(values: Mapping[str, Any], descriptors: Mapping[str, int]) -> int:
    """Return a descriptor, open over exec as all those it names, from which a successor reads."""
    number = os.memfd_create("legacy", 0)
    with open(number, "wb", closefd=False) as file:
        file.write(json.dumps({"values": values, "descriptors": descriptors}).encode())
    for descriptor in descriptors.values():
        os.set_inheritable(descriptor, True)
    return number
