"""An agent's rollout: what its object says, what to type next, and the verbs that move it."""
