"""``mode="reduce-overhead"``: a function that was proved to do the same each time is replayed without its Python."""
