"""What iptables-save prints where Docker Engines were: of 20.10 with Swarm as Debian has it, and of 28 and 29 by moby's
sources. And the same as nft's JSON, in which libnftables 1.0.6 shows rules that iptables-nft 1.8.9 wrote."""

import json
import shlex
from typing import Any

VXLAN = '-m u32 --u32 "0x0>>0x16&0x3c@0xc&0xffffff00=0x100100"'

ENGINE_20 = f"""\
*mangle
:OUTPUT ACCEPT [0:0]
-A OUTPUT -p udp -m udp --dport 4789 {VXLAN} -j MARK --set-xmark 0xd0c4e3/0xffffffff
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-INGRESS - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -p udp -m policy --dir in --pol none -m udp --dport 4789 {VXLAN} -j DROP
-A INPUT -p udp -m policy --dir in --pol ipsec -m udp --dport 4789 {VXLAN} -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-INGRESS
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker_gwbridge -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker_gwbridge -j DOCKER
-A FORWARD -i docker_gwbridge ! -o docker_gwbridge -j ACCEPT
-A FORWARD -i br-9f7235a0c676 -o br-9f7235a0c676 -j ACCEPT
-A FORWARD -o mybridge -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o mybridge -j DOCKER
-A FORWARD -i mybridge ! -o mybridge -j ACCEPT
-A FORWARD -i docker_gwbridge -o docker_gwbridge -j DROP
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-INGRESS -p tcp -m tcp --dport 8080 -j ACCEPT
-A DOCKER-INGRESS -p tcp -m tcp --sport 8080 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-INGRESS -j RETURN
-A DOCKER-ISOLATION-STAGE-1 -i docker_gwbridge ! -o docker_gwbridge -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 ! -s 172.18.0.0/16 -o br-9f7235a0c676 -j DROP
-A DOCKER-ISOLATION-STAGE-1 ! -d 172.18.0.0/16 -i br-9f7235a0c676 -j DROP
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker_gwbridge -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-INGRESS - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER-INGRESS
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER-INGRESS
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -o docker_gwbridge -m addrtype --src-type LOCAL -j MASQUERADE
-A POSTROUTING -s 172.19.0.0/16 ! -o docker_gwbridge -j MASQUERADE
-A POSTROUTING -s 172.20.0.0/16 ! -o mybridge -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -i docker_gwbridge -j RETURN
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:80
-A DOCKER -d 127.0.0.1/32 ! -i docker0 -p udp -m udp --dport 8082 -j DNAT --to-destination 172.17.0.3:80
-A DOCKER-INGRESS -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.19.0.2:8080
-A DOCKER-INGRESS -j RETURN
COMMIT
"""

ENGINE_28 = """\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INGRESS - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-INGRESS
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-FORWARD -i docker_gwbridge -o docker_gwbridge -j DROP
-A DOCKER-FORWARD -i docker_gwbridge ! -o docker_gwbridge -j ACCEPT
-A DOCKER-INGRESS -j RETURN
-A DOCKER-INTERNAL ! -s 172.18.0.0/16 -o br-9f7235a0c676 -j DROP
-A DOCKER-INTERNAL ! -d 172.18.0.0/16 -i br-9f7235a0c676 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:80
COMMIT
"""


def added(saved: str, table: str, *lines: str) -> str:
    """Return the listing with more lines in a table."""
    begin = saved.index(f"*{table}\n")
    end = saved.index("COMMIT", begin)
    return saved[:end] + "".join(f"{line}\n" for line in lines) + saved[end:]


def nft_json(saved: str, table: str, family: str = "ip") -> str:
    """Return nft's JSON of one of its tables."""
    items: list[dict[str, Any]] = [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": family, "name": table}}]
    begin = saved.index(f"*{table}\n")
    chains: set[str] = set()
    for handle, line in enumerate(saved[begin : saved.index("COMMIT", begin)].splitlines()[1:]):
        if line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chains.add(name)
            hook = {} if policy == "-" else {"type": "filter", "hook": "forward", "policy": policy.lower()}
            items.append({"chain": {"family": family, "table": table, "name": name, "handle": handle, **hook}})
        else:
            words = shlex.split(line)
            rule = {"family": family, "table": table, "chain": words[1], "handle": handle}
            items.append({"rule": {**rule, **_parts(words[2:], chains)}})
    return json.dumps({"nftables": items})


def _parts(words: list[str], chains: set[str]) -> dict[str, Any]:
    found: list[Any] = []
    more: dict[str, Any] = {}
    protocol, op, at = "", "==", 0
    while at < len(words):
        word, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        at += 1 if word == "!" else 2
        if word == "!":
            op = "!="
            continue
        if word in ("-i", "-o"):
            found.append(_match(op, {"meta": {"key": "iifname" if word == "-i" else "oifname"}}, value))
        elif word in ("-s", "-d"):
            address, _, length = value.partition("/")
            right = address if length == "32" else {"prefix": {"addr": address, "len": int(length)}}
            side = {"payload": {"protocol": "ip", "field": "saddr" if word == "-s" else "daddr"}}
            found.append(_match(op, side, right))
        elif word == "-p":
            protocol = value
        elif word in ("--dport", "--sport"):
            found.append(_match(op, {"payload": {"protocol": protocol, "field": word[2:]}}, int(value)))
        elif word == "-m" and value not in ("tcp", "udp", "comment"):
            found.append({"xt": {"type": "match", "name": value}})
        elif word == "--comment":
            more["comment"] = value
        elif word == "-j" and value in chains:
            found += [{"counter": {"packets": 7, "bytes": 9}}, {"jump": {"target": value}}]
        elif word == "-j":
            plain = value in ("ACCEPT", "DROP", "RETURN")
            found.append({value.lower(): None} if plain else {"xt": {"type": "target", "name": value}})
        op = "=="
    return {"expr": found, **more}


def _match(op: str, left: Any, right: Any) -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}
