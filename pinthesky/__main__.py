"""`python -m pinthesky`: the daemon."""

import sys

from pinthesky.device.daemon import main

if __name__ == "__main__":
    sys.exit(main())
