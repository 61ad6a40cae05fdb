"""What an upsert is made of: what a batch states, what that means for the table, and the guard of a whole truth."""
