"""A model server without a model: vLLM's face and manners, extractive answers, no GPU."""
