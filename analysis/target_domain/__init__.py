"""The target domain x' = f(R⁻¹𝒫Rȳ), and which anatomies are compatible with an output."""
