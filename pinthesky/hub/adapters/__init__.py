"""The planes' ports at home: each adapter puts one port of `pinthesky.planes.ports` on parts of the hub."""
