"""Encrypted overlays: which packets between nodes IPsec encrypts, and with which keys. Docker's way on the wire.

It must not know what an overlay looks like in the kernel; that no packet of one leaves in the clear is its work alone.
"""
