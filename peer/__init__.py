"""The device: watcher, chunker, indexer, synchronizer, client metadata database, LAN, command line."""
