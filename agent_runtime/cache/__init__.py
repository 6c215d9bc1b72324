"""Answers that are given again without asking a model."""
