"""Services that use this one, short enough to read."""
