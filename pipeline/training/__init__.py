"""Many days as one training Zarr: built day by day, measured, and read back."""
