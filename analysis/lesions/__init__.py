"""Lesions, and places where they are looked for."""
