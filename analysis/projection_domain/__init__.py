"""What the scanner could tell apart, and who lost it: dose, reconstruction or network."""
