"""A denoiser split after a layer: f = Ψ∘Φ, and which layers are cuts."""
