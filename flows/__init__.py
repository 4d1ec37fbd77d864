"""What runs the journey: the Prefect flows, the clock and the command line."""
