"""A line that is broken on purpose: rules, and what they do to the packets of one connection. No clock."""
