"""The planes' ports in AWS: each adapter puts one port of `pinthesky.planes.ports` on services of the account."""
