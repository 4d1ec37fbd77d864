"""What people on duty see and do: how fresh, how late, what is ready, whom to alert, what is kept and what goes."""
