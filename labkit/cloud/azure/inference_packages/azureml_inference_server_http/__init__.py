"""What scoring scripts import of Azure Machine Learning's inference server, where that is not installed."""
