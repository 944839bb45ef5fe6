"""What a service tells us on its own account: a signed event over HTTP, taken in once, with all that follows."""
