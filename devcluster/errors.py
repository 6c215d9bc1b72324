"""The one error that a person is meant to read."""


class DevclusterError(Exception):
    """Something is missing or failed; the text names it and the way out."""
