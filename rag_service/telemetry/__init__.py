"""What the service says about itself: spans, breaker log records, a few counters."""
