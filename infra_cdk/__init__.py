"""The cloud home as an AWS CDK application: `python -m infra_cdk.app`, from the checkout's root."""
