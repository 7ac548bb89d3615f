"""pitsctl: from a bare Pi to a running camera, guided, over ssh."""
