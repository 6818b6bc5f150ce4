"""`python -m zkpot_agent`."""

from zkpot_agent.cli import main

if __name__ == "__main__":
    main()
