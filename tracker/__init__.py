"""The server: accounts, plans, workspaces, metadata commits, block service, notifications."""
