"""What the process tells about itself: log lines and metrics."""
