"""The peer's real ports: the only place under peer/ that talks to the machine itself."""
