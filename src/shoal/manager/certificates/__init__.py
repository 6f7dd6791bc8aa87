"""Who gets a certificate, who signs it, and what becomes of all of them when the root changes."""
