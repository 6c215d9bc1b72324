"""Pure decisions of the runtime: no clock, no randomness, no I/O; both come in as arguments."""
