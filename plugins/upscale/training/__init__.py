"""How the built-in upscaler was made: draw pictures, make them small, learn the way back. See README.md."""
