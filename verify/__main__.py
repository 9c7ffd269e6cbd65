"""`python -m verify` is the console script `llavavit-verify`."""

from verify.cli import main

if __name__ == "__main__":
    main()
