"""Speed and memory, side by side, runnable by anyone."""
