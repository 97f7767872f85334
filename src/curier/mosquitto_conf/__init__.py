"""Mosquitto's configuration file, read as Mosquitto reads it, and said in ours."""
