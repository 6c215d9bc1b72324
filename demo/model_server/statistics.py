"""What the server has been asked, in bounded memory."""

from __future__ import annotations

from collections import Counter, OrderedDict

MAX_MODELS = 100
MAX_FAILED_IDS = 100_000
OTHER_MODELS = "(others)"


class Statistics:
    """Counts by model, and the ids of requests that failed."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._failed_ids: OrderedDict[str, None] = OrderedDict()

    def count(self, model: str, request_id: str, *, failed: bool) -> None:
        """Note one call."""
        name = model if model in self._calls or len(self._calls) < MAX_MODELS else OTHER_MODELS
        self._calls[name] += 1
        if failed:
            self._failures[name] += 1
            self._failed_ids[request_id] = None
            if len(self._failed_ids) > MAX_FAILED_IDS:
                self._failed_ids.popitem(last=False)

    def report(self) -> dict[str, object]:
        """Everything noted, as `GET /stats` answers it; a request that was retried appears once among the ids."""
        return {
            "calls": dict(self._calls),
            "failures": dict(self._failures),
            "failedRequests": len(self._failed_ids),
            "failedRequestIds": list(self._failed_ids),
        }
