"""What is shown: one module per figure, all in one style."""
