"""One folder for each kind of destination. They do not know each other and are reached through the registry."""
