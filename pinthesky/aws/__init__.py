"""Adapters to AWS, or to a hub that speaks as AWS does: the only place with boto3 and botocore."""
