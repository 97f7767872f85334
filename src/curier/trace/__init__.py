"""A window onto the wire: what went by, decoded, joined into flows, and drawn."""
