"""Implementations behind :func:`recon.operator.operator`; nothing here imports a GPU library at once."""
