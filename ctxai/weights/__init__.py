"""Networks to use: those that come along, sets of the same shape, published and own ones."""
