"""What a command does and says, once its arguments are understood: one module for each kind of answer."""
