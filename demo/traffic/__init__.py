"""Client traffic: many conversations at once, and a record of every request. Runs in a pod or on the machine."""
