"""The data plane: what travels over the WebSockets of people."""
