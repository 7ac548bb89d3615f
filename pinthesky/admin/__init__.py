"""What needs root, as a closed set of verbs behind a socket."""
