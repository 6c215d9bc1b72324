"""Which calls fail."""

from __future__ import annotations

import hashlib

BAD_MARK = "bad"


def fails(model: str, request_id: str, percent: int) -> bool:
    """Whether every call of this request to this model fails: so does a share of requests to models called "bad".

    The model is part of the draw, so that of two bad models one may answer where the other fails.
    """
    if BAD_MARK not in model:
        return False
    draw = hashlib.sha256(f"{model}\n{request_id}".encode()).digest()
    return int.from_bytes(draw) % 100 < percent
