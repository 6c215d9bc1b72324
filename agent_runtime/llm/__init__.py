"""Model calls: one small protocol, and each concern a client that wraps another."""
