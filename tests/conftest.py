"""Settings of the whole suite: they must be in place before torch and numba load."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
