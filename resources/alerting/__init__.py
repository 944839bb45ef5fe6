"""The ways on which alerts leave: a webhook, mail, and the heartbeat that somebody else misses when it stops."""
