"""``curier`` with the log of its cluster cut every few seconds: ``python -m tests.crash.thrifty broker``."""

from __future__ import annotations

from typing import Any

from curier.cluster import cutting

changed: Any = cutting
changed.THRIFT = cutting.Thrift(every=3.0, entries=50, stride=20)

if __name__ == "__main__":
    from curier.__main__ import run  # which takes that as a default

    run()
