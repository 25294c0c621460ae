"""What makes a Tensor feel like one: methods, indexing, printing."""
