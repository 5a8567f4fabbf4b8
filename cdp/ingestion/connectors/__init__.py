"""One folder for each system that is read from. They know nothing of each other, nor of the database."""
