"""The second project: a pipeline that retrains the churn model, and registers what is good enough."""
