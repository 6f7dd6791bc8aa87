"""Sequences of docker commands in data files, played to a swarm of Docker Engines and to one of Shoal.

`files` reads them, `state` makes a plain picture of what a swarm shows, `compare` compares two pictures, `player` runs
the commands and waits, `swarms` starts and watches a swarm of each kind.
"""
