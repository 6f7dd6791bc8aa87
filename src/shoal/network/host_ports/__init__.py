"""Ports of this host that lead to containers on its own bridge: `--publish mode=host`.

`ports` says who has which, `rules` is what nft is told, `holding` keeps other programs off a port, `publisher` does all
of it in the kernel. Which container may have a port is not decided here: the scheduler and the host's programs do.
"""
