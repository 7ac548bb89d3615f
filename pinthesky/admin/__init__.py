"""What needs root, as a closed set of verbs behind a socket, and upgrades that find their way back."""
