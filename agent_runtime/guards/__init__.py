"""What may be asked and what may be answered. A guard that fails refuses."""
