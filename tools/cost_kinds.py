"""What the resources of the templates are paid by, type by type, or why one costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kind:
    """The prices that a type of resource brings, or why it has none."""

    prices: tuple[str, ...] = field(default=())
    free: str = ""


def _free(reason: str) -> Kind:
    return Kind(free=reason)


_DEPLOYING = "acts when the stack is deployed, a few seconds within a request"
_SETTING = "a setting of what is paid for elsewhere"
_RIGHT = "policies, roles and permissions cost nothing"

KINDS: dict[str, Kind] = {
    "AWS::ApiGatewayV2::Api": Kind(("http-api", "socket-messages", "socket-minutes")),
    "AWS::ApiGatewayV2::ApiMapping": _free(_SETTING),
    "AWS::ApiGatewayV2::Authorizer": _free("the JWT authorizer is part of a request"),
    "AWS::ApiGatewayV2::Deployment": _free(_SETTING),
    "AWS::ApiGatewayV2::DomainName": _free("names of one's own are free, their certificate too"),
    "AWS::ApiGatewayV2::Integration": _free(_SETTING),
    "AWS::ApiGatewayV2::Route": _free(_SETTING),
    "AWS::ApiGatewayV2::Stage": _free("its access log is counted with the logs"),
    "AWS::Budgets::Budget": _free("budgets that only tell are free"),
    "AWS::CDK::Metadata": _free("nothing but a note"),
    "AWS::CloudFront::CachePolicy": _free(_SETTING),
    "AWS::CloudFront::Distribution": Kind(("cloudfront-requests", "cloudfront-transfer")),
    "AWS::CloudFront::Function": Kind(("cloudfront-functions",)),
    "AWS::CloudFront::OriginAccessControl": _free(_SETTING),
    "AWS::CloudFront::ResponseHeadersPolicy": _free(_SETTING),
    "AWS::CloudWatch::Alarm": Kind(("alarms",)),
    "AWS::CloudWatch::Dashboard": Kind(("dashboards",)),
    "AWS::Cognito::ManagedLoginBranding": _free("part of the tier that is paid for by each person"),
    "AWS::Cognito::UserPool": Kind(("cognito",)),
    "AWS::Cognito::UserPoolClient": _free("one client; only clients of machines cost"),
    "AWS::Cognito::UserPoolDomain": _free(_SETTING),
    "AWS::Cognito::UserPoolGroup": _free(_SETTING),
    "AWS::Cognito::UserPoolIdentityProvider": _free("who comes by it is counted as a person of the pool"),
    "AWS::DynamoDB::Table": Kind(("dynamodb-backup", "dynamodb-read", "dynamodb-storage", "dynamodb-write")),
    "AWS::Events::Rule": Kind(("s3-events",)),
    "AWS::IAM::ManagedPolicy": _free(_RIGHT),
    "AWS::IAM::Policy": _free(_RIGHT),
    "AWS::IAM::Role": _free(_RIGHT),
    "AWS::IoT::Policy": _free(_RIGHT),
    "AWS::IoT::RoleAlias": _free("asking for credentials costs nothing"),
    "AWS::IoT::ThingGroup": _free("static groups cost nothing; adding a thing is one operation of the registry"),
    "AWS::IoT::TopicRule": Kind(("iot-messages", "iot-minutes", "iot-rules")),
    "AWS::Lambda::EventInvokeConfig": _free(_SETTING),
    "AWS::Lambda::EventSourceMapping": Kind(("sqs-requests",)),
    "AWS::Lambda::Function": Kind(("lambda-requests", "lambda-time")),
    "AWS::Lambda::LayerVersion": _free("storage of functions is free up to 75 GB"),
    "AWS::Lambda::Permission": _free(_RIGHT),
    "AWS::Logs::LogGroup": Kind(("logs-ingested", "logs-stored")),
    "AWS::Logs::MetricFilter": _free("the metric that it fills is counted where an alarm looks at it"),
    "AWS::Logs::ResourcePolicy": _free(_RIGHT),
    "AWS::Route53::HostedZone": Kind(("hosted-zone",)),
    "AWS::Route53::RecordSet": _free("alias records of CloudFront are answered for nothing"),
    "AWS::S3::Bucket": Kind(("s3-get", "s3-put", "s3-storage", "s3-tags", "transfer-out")),
    "AWS::S3::BucketPolicy": _free(_RIGHT),
    "AWS::SNS::Subscription": _free("what it is sent is counted with the topic"),
    "AWS::SNS::Topic": Kind(("sns-mails", "sns-publishes")),
    "AWS::SNS::TopicPolicy": _free(_RIGHT),
    "AWS::SQS::Queue": _free("dead letters: nobody asks it for messages, and a million a month would cost 0.40"),
    "AWS::SQS::QueuePolicy": _free(_RIGHT),
    "AWS::SSM::Parameter": _free("standard parameters are free"),
    "AWS::Scheduler::Schedule": Kind(("scheduler",)),
    "AWS::Scheduler::ScheduleGroup": _free(_SETTING),
    "Custom::AWS": _free(_DEPLOYING),
    "Custom::CDKBucketDeployment": _free(_DEPLOYING),
    "Custom::IotEventConfiguration": _free(_DEPLOYING),
}
