"""Root CA, join tokens, node certificates, key files, TLS contexts. Opens no sockets."""
