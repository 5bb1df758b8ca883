"""LLaRA: prompts that show each item as its title and one soft token, under a curriculum."""
