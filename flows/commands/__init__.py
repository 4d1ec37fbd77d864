"""What operators type: one function a command, its arguments and its help; the work is done elsewhere."""
