"""Sequence diagrams: one model, and its forms for terminals, pages, documents and programs."""
