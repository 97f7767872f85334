"""Python files of whoever runs ``curier broker``: hooks, authenticators and authorizers of their own."""
