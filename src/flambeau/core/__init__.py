"""The core: tensors as handles, operations, interpreters, the tape."""
