"""`python -m zkpot_aggregator`."""

from zkpot_aggregator.cli import main

if __name__ == "__main__":
    main()
