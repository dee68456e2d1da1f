"""Pictures of images and curves: an empty figure, and rows of images in a stated window."""
