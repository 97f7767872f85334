"""The parts of ``curier trace``."""
