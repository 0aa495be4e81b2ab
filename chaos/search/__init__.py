"""Where it breaks: the same experiment again and again, with one thing growing."""
