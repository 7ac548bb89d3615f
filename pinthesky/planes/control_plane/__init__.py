"""The control plane: the routes of the contract, one module for each area."""
