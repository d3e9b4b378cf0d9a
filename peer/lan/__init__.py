"""The LAN: finding the user's other devices, talking to them, and giving and taking sealed chunks.

meeting      who is out there, and who dials whom
channel      one connection: handshake, frames
link         a connection to a device that is known: requests, answers, news
serving      what this device answers
neighbours   all links together: who holds what, who waits for what
"""
