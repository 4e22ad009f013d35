"""The part of the inference server that is for scoring scripts."""
