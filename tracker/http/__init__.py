"""The tracker's requests over HTTP: envelope, endpoints, blocks, subscriptions."""
