"""What SSH takes: a login by a host that is known, a connection that is kept, and failures in our words."""
