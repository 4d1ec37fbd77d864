"""Take today's ocean, forecast thirty more days, publish them whole, and say how good they were."""
