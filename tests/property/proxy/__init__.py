"""What must hold for the built-in proxy whatever is asked of it."""
