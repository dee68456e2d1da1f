"""Complete representations and what a layer leaves open of them: VAE, cINN, flow matching."""
