"""`python -m pinthesky.hub`: the hub."""

import sys

from pinthesky.hub.app import main

if __name__ == "__main__":
    sys.exit(main())
