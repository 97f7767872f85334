"""Bridges: messages taken from one broker and given to another, in one direction or both."""
