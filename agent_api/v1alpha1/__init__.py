"""Types of greylag.dev/v1alpha1. They change only by adding."""
