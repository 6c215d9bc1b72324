"""Tools: sources that list and run them, and the box that a run calls them through."""
