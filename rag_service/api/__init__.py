"""The service's face: HTTP in, JSON or server-sent events out."""
