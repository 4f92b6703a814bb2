"""python -m entropy_rl"""

from entropy_rl.cli import main

if __name__ == "__main__":
    main()
