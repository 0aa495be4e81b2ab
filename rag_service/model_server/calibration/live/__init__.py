"""A preset from a live server: measure it, fit the cost, simulate the same load, compare."""
