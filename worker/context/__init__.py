"""What is remembered of sessions and users: a pure core and the public classes over it."""
