"""The connection to Redis, where everything is kept that pods share."""
