"""The same agent built with other libraries, each behind HTTP; they run in a virtualenv of their own."""
