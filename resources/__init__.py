"""How the outside is reached: database, services, files, local servers."""
