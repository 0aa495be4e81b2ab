"""The parts of an answer's path, each measured by a span of its own."""
