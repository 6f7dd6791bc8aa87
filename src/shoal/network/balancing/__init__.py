"""Virtual IPs: who is behind each, as packet rules in the namespace of every container that may ask."""
