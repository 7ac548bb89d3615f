"""The self-test of a running camera, on the device: what only its own key, files and clock can tell."""
