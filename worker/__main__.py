"""`python -m worker` is `context-worker`."""

from worker.cli import main

if __name__ == "__main__":
    main()
