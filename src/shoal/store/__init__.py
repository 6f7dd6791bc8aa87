"""What the swarm remembers: typed tables in memory with indexes, transactions and watches; etcd as the durable log.
Does not know what a service is for."""
