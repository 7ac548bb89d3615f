"""The machine underneath the programs: its disk, its folders, its service manager, and the end of a process."""
