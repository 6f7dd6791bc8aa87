"""Root CA, join tokens, node certificates, key files, TLS contexts. This package opens no sockets."""
