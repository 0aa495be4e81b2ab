"""A small vector database: FAISS behind HTTP, in a process of its own. It never imports torch."""
