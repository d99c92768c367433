"""Training: recipes, losses of one step, the loop."""
