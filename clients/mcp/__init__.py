"""MCP, the protocol by which assistants use tools: every announced job is one, artifacts are resources."""
