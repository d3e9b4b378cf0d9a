"""`python -m tracker` is `shoal-tracker`."""

from tracker.cli import main

if __name__ == "__main__":
    main()
