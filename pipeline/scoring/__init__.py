"""How good forecasts are: what a score is made of, by region, kept over cycles, and the skill that follows."""
