"""`agentctl run`: an agent from a file, served on this machine."""
