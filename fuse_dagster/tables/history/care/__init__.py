"""Taking a history over, making it anew, and taking a snapshot back."""
