"""What can go wrong with images."""


class ImagesError(Exception):
    """Something a person can read and act on."""
