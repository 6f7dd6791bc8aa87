"""What the network process makes of the kernel: overlays by netlink, packet rules by libnftables."""
