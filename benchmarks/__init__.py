"""Figures: measured on one machine in one go, each bar with its value, whether it is met or not."""
