"""Array operations that need more care than XLA gives them. They know nothing of reinforcement learning."""
