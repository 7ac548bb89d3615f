"""`python -m pinthesky.link`: the device client."""

import sys

from pinthesky.link.client import main

if __name__ == "__main__":
    sys.exit(main())
