"""How a kernel is compiled, kept and shared among threads: no physics."""
