"""Envoy: its configuration as plain data, its files, its process and its admin interface."""
