"""Stands between any client and any broker: sees what goes by, and breaks it on purpose."""
