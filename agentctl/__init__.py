"""Command line of Greylag, also installed as `kubectl-agent`."""
