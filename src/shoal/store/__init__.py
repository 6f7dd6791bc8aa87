"""What the swarm remembers: typed tables in memory with indexes, transactions and watches; etcd as the durable log.

`changes`, `tables` and `memory` are pure; `store` is the one writer over `etcd_client`, `etcd_process` keeps etcd
running, `seal` encrypts what is stored. Does not know what a service is for: that is `manager`'s.
"""
