"""Networks and tensors in files, none of which is trusted before it is checked."""
