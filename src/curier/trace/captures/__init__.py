"""Captures of a network: pcap and pcapng files read as events, and events written as pcapng.

``reading.read_capture`` and ``writing.CaptureWriter`` are the face. The reader is our own: of the libraries
for this, those without C have had no release for years and have no types, and the one that is kept well is
larger than all of curier, under another kind of licence, and keeps whole streams in memory.
"""
