"""HTTP: parse, delegate, answer."""
