"""What arrives from cameras and stores, in any order and more than once: each thing is taken in once."""
