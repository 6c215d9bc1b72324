"""A simulated model provider: speaks the OpenAI protocol and fails on purpose, in a way that a test can compute."""
