"""Adapters: the only place that talks to the API server and to pods. Converts their errors once."""
