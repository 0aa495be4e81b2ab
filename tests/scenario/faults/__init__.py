"""Every fault at its client: what it does, what the record says, how it is undone."""
