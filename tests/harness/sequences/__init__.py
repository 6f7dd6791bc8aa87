"""Sequences of docker commands, kept as data files, that are played to a Docker Engine's swarm and to one of ours.

`files` reads them, `state` makes a plain picture of what a swarm shows, `compare` tells two pictures apart, `player`
runs the commands and waits, `swarms` starts and watches a swarm of each kind.
"""
