"""Models as ONNX or PT2 graphs of any picture size, and the sampling loop around them without PyTorch."""
