"""What can go wrong with the demo."""


class DemoError(Exception):
    """Something a person can read and act on."""
