"""Bodies out of ellipsoids: a thorax, an abdomen and a head, to be scanned on a helix."""
