"""One file a table or figure of the paper; copy one to begin another."""
