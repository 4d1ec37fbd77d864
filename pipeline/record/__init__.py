"""What the store remembers of a cycle for those who run it: journal, marks, lock, judgements, what is latest."""
