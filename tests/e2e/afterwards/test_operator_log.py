"""After all other tests: what went through the operator left no traceback in its log."""

from __future__ import annotations

from demo.environment import Environment


def test_the_operators_log_has_no_traceback(lab: Environment) -> None:
    selector = "app.kubernetes.io/component=operator"
    log = lab.kubectl("-n", "greylag-system", "logs", "-l", selector, "--tail=-1", "--prefix")
    assert "leading" in log
    assert "Traceback" not in log
