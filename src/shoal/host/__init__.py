"""What the network and the runtime both need of this host: system calls, its programs, its events. Knows neither."""
