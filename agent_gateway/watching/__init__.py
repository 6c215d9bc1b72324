"""What the gateway knows of its namespace: routes, endpoints of pods, and the leases on canaries."""
