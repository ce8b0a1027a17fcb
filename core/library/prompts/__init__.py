"""Choices in prompts, for all plugins that take prompts: their environments need the library dynamicprompts."""

MAX_TEXT = 20_000  # characters of a prompt, also with all that is added to it
