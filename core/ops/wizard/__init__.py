"""How a new plugin is written. Reading order: kinds, answers, writing, asking."""
