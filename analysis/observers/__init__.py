"""Who reads an image: the ideal observer, and observers that read as people do."""
