"""The swarm's state: typed tables in memory, with indexes, transactions and watches, and etcd to keep them.

`changes`, `tables` and `memory` are pure. `store` is the only writer; it uses `etcd_client`. `etcd_process` keeps etcd
running, `seal` encrypts the stored values. The store does not know what objects mean; `manager` does.
"""
