"""The first project: one churn model behind a managed API."""
