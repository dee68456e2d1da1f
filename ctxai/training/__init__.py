"""How each network is trained, by one loop that can be stopped at any moment and resumed."""
