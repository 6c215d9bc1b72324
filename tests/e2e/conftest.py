"""The devcluster with Greylag installed by its chart: brought up once, quick if it is there.

Tests in `alone/` disturb the whole cluster (leader, API server, upgrade) or measure it, and run one at a time; those in
`together/` keep to their namespace, and run side by side on the installation that the former leave.
"""

from __future__ import annotations

from tests.support.fixtures import lab, team

__all__ = ["lab", "team"]
