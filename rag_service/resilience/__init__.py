"""Small, separately usable pieces that keep one bad dependency from becoming every user's problem."""
