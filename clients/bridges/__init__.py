"""The APIs that apps speak already, as clients of the socket API: A1111, OpenAI images, MCP."""
