"""Long work: tasks that outlive the pod that runs them."""
