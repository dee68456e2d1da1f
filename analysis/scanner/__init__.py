"""A slice in the scanner: R⁻¹𝒫R at any exposure, of a patch or of whole series."""
