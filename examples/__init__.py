"""Complete programs, each of which runs without a key."""
