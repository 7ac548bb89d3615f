"""Pi In The Sky: a fleet of cameras on Raspberry Pis."""
