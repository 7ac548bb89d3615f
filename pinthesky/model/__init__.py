"""The vocabulary of the fleet: what travels, what is stored and what may be set. No input or output happens here."""
