"""How the built-in tagger was made: draw pictures, train a small network, write it as ONNX. See README.md."""
