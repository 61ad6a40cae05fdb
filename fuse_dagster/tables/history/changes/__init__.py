"""Changes: what a feed of statements does to a history."""
