"""`python -m pinthesky.doctor`."""

import sys

from pinthesky.doctor.command import main

if __name__ == "__main__":
    sys.exit(main())
