"""The repositories: each understands the rows of one kind in the single table."""
