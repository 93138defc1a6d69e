"""What a model says, as pages: a report in one file, and a local site."""
