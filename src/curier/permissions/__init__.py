"""What a client may do, by rules of a file: pure, synchronous, nothing here reads or waits."""
