"""The home of a fleet on its owner's own machine: it speaks to devices what AWS speaks."""
