"""What is known of the Earth whatever the day: relief, coasts, land masks, the mean ocean and atmosphere."""
