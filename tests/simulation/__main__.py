"""`python -m simulation`: see `simulation.command`."""

from simulation.command import main

main()
