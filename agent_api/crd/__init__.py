"""From the models of the contract to CustomResourceDefinitions that an API server accepts."""
