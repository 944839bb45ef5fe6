"""TCP proxies of our own that stand between the engine and what it talks to, and do harm there on purpose."""
