"""A store on a real Redis."""

from __future__ import annotations

from tests.support.store_fixtures import open_at, own_redis, redis_server, standing_redis, store

__all__ = ["open_at", "own_redis", "redis_server", "standing_redis", "store"]
