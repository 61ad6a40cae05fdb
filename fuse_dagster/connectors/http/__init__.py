"""What connectors that speak HTTP share: one client with logins, patience, a pace, and errors that name what to do."""
