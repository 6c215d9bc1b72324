"""The rollout engine; `gates` holds the list of its gates, in the order of their rights."""
