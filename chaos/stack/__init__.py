"""What is under test, and what it talks to: on this machine, in containers, or there already."""
