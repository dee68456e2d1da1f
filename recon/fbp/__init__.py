"""R⁻¹: rebinning, weights, ramp filter and windows, as a plan that any backend carries out."""
