"""Kills a broker again and again, and sees whether what it acknowledged is there: behind ``curier verify``.

``ledger`` judges, and knows no network; ``peer`` is a client without one, ``caller`` gives it one.
"""
