"""What tracker and peers agree on: messages, codec, sealing, identifiers, errors. No I/O loop of its own."""
