"""The search for the columns of a table that matter."""
