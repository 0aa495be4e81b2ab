"""One run of one experiment: the order of its steps, its journal, its load, what is watched meanwhile."""
