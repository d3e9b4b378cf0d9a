"""The tracker's real ports: the only place under tracker/ that talks to the machine itself."""
