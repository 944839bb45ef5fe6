"""A payment and a notification service that really answer over HTTP: somebody else's system, and the witness."""
