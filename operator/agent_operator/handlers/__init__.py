"""The only place that knows kopf: events in, keys out. No handler decides anything."""
