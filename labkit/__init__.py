"""The MLOps Lab Kit: cloud infrastructure and MLOps on AWS, Azure and Google Cloud, learned on local clouds."""
