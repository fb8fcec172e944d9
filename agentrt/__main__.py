"""`python -m agentrt` is the command line."""

from agentrt.cli import main

if __name__ == "__main__":
    main(prog_name="agentrt")
