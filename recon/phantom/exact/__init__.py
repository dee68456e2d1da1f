"""Phantoms of ellipses and ellipsoids, whose line integrals are known exactly."""
