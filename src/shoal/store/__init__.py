"""The swarm's state: typed tables in memory, with indexes, transactions and watches, and etcd to keep them.

`changes`, `tables` and `memory` are pure; `store` is the one writer over `etcd_client`, `etcd_process` keeps etcd
running, `seal` encrypts what is stored. What objects mean is up to `manager`.
"""
