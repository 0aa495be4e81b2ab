"""The reference system under test: a RAG service built to degrade well."""
