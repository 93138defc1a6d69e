"""One file a question of our own."""
