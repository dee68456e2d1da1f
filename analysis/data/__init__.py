"""Pairs of low-dose and high-dose images, to train on and to hold out."""
