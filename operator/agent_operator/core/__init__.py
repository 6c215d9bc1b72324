"""Decisions, hashing and rendering. Pure: no client, no clock, no environment, no logging; time is an argument."""
