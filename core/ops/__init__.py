"""Install, environments, deploy, tokens, backup, doctor: what an administrator does."""
