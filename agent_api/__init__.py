"""The contract of Greylag: what operator, gateway, runtime and command line say to each other. Imports none of them."""
