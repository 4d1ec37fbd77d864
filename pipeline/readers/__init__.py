"""The published forecast from the other side: found, opened, proved whole, exported, looked at."""
