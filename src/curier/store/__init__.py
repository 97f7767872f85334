"""Durable state on disk: an SQLite database, written by a process of its own.

``base`` is the seam, ``database`` the tables, ``ahead`` the journal file before them, ``process`` the child
that writes both, ``sqlite`` the store that ties it to the event loop, ``directory`` the lock on a data
directory; ``mark``, ``progress`` and ``beginning`` see to it that nothing goes missing unnoticed.
``portable`` is the form as JSON lines for export and import, ``summary`` what a database holds in numbers.
"""
