"""How often an agent may be asked, over all pods."""
