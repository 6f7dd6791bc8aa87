"""Which nodes get a certificate, who signs it, and how all certificates are replaced when the root CA changes."""
