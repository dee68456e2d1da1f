"""Whether samples are invariances: the verdict, its evidence, and tests over many images."""
