"""Finetuning a denoiser against invariances that it should not have."""
