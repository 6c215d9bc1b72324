"""What model calls cost, and the ledger that all pods share."""
