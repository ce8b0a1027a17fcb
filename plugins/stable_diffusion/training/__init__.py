"""How the built-in model was made: draw pictures, train the parts, assemble and score them. See README.md."""
