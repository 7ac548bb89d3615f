"""The console: a private bucket behind CloudFront, and headers that allow exactly what the console needs."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_certificatemanager as certificates
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as route53_targets
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra_cdk.settings import Settings

HSTS = Duration.days(365)
FOR_EVER = "public, max-age=31536000, immutable"
"""For files whose names hold a hash of what is in them."""
ASK_EACH_TIME = "no-cache"
REFERENCE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
"""The reference of the API brings its own style, and runs nothing."""
_PERMISSIONS = "camera=(), microphone=(), geolocation=()"
# Paths within the console are the console's own: its first page knows them. A name with a dot is a file.
_FIRST_PAGE = """function handler(event) {
  var request = event.request;
  var last = request.uri.substring(request.uri.lastIndexOf('/') + 1);
  if (request.uri !== '/reference' && last.indexOf('.') === -1) request.uri = '/index.html';
  return request;
}
"""


def content_policy(*, api: str, socket: str, sign_in: str, media: str) -> str:
    """What the console may reach: itself, both APIs, the pages of the sign-in, and recordings by signed links."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: {media}; "
        f"media-src 'self' blob: {media}; connect-src 'self' {api} {socket} {sign_in}; font-src 'self'; "
        f"manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


class ConsoleSite(Construct):
    """`address` is the console's, without a slash at its end."""

    def __init__(self, scope: Construct, name: str, *, policy: str, settings: Settings) -> None:
        super().__init__(scope, name)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            # The deploying tool empties it before the stack goes: a function that may would have to be kept for it.
            removal_policy=RemovalPolicy.DESTROY,
        )
        origin = origins.S3BucketOrigin.with_origin_access_control(self.bucket)
        page = self._headers("Page", policy, cache=ASK_EACH_TIME)
        first_page = cloudfront.Function(
            self,
            "FirstPage",
            code=cloudfront.FunctionCode.from_inline(_FIRST_PAGE),
            runtime=cloudfront.FunctionRuntime.JS_2_0,
            comment="Paths within the console",
        )
        self.has_no_own_name = settings.domain_name is None
        names = [] if settings.domain_name is None else [settings.domain_name]
        self.distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment="Pi In The Sky: the console",
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            price_class=cloudfront.PriceClass.PRICE_CLASS_100,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            domain_names=names or None,
            certificate=self._certificate(settings),
            default_behavior=self._behavior(
                origin, page, cloudfront.CachePolicy.CACHING_DISABLED, functions=[first_page]
            ),
            additional_behaviors=self._beside_the_page(origin, policy),
            # Without the right to list, S3 says that what is not there is forbidden.
            error_responses=[
                cloudfront.ErrorResponse(
                    http_status=403,
                    response_http_status=404,
                    response_page_path="/index.html",
                    ttl=Duration.seconds(10),
                )
            ],
        )
        self.address = f"https://{names[0] if names else self.distribution.distribution_domain_name}"
        self._name_it(settings)

    def _certificate(self, settings: Settings) -> certificates.ICertificate | None:
        if settings.certificate_arn is None:
            return None
        return certificates.Certificate.from_certificate_arn(self, "Certificate", settings.certificate_arn)

    def _beside_the_page(self, origin: cloudfront.IOrigin, policy: str) -> dict[str, cloudfront.BehaviorOptions]:
        """What is served otherwise than the console's page: files for ever, and the reference with its own policy."""
        return {
            "/assets/*": self._behavior(
                origin, self._headers("Assets", policy, cache=FOR_EVER), cloudfront.CachePolicy.CACHING_OPTIMIZED
            ),
            "/reference": self._behavior(
                origin,
                self._headers("Reference", REFERENCE_POLICY, cache=ASK_EACH_TIME),
                cloudfront.CachePolicy.CACHING_DISABLED,
            ),
        }

    @staticmethod
    def _behavior(
        origin: cloudfront.IOrigin,
        headers: cloudfront.IResponseHeadersPolicy,
        cache: cloudfront.ICachePolicy,
        *,
        functions: Sequence[cloudfront.Function] = (),
    ) -> cloudfront.BehaviorOptions:
        return cloudfront.BehaviorOptions(
            origin=origin,
            allowed_methods=cloudfront.AllowedMethods.ALLOW_GET_HEAD,
            viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
            cache_policy=cache,
            response_headers_policy=headers,
            compress=True,
            function_associations=[
                cloudfront.FunctionAssociation(function=each, event_type=cloudfront.FunctionEventType.VIEWER_REQUEST)
                for each in functions
            ]
            or None,
        )

    def _headers(self, name: str, policy: str, *, cache: str) -> cloudfront.ResponseHeadersPolicy:
        """The hub's own headers, and HSTS: here every host is reached by TLS."""
        custom = {
            "Cache-Control": (cache, False),
            "Cross-Origin-Opener-Policy": ("same-origin", True),
            "Cross-Origin-Resource-Policy": ("same-origin", True),
            "Permissions-Policy": (_PERMISSIONS, True),
        }
        return cloudfront.ResponseHeadersPolicy(
            self,
            name,
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=policy, override=True
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
                frame_options=cloudfront.ResponseHeadersFrameOptions(
                    frame_option=cloudfront.HeadersFrameOption.DENY, override=True
                ),
                referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=cloudfront.HeadersReferrerPolicy.SAME_ORIGIN, override=True
                ),
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=HSTS, override=True
                ),
            ),
            custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cloudfront.ResponseCustomHeader(header=header, value=value, override=override)
                    for header, (value, override) in custom.items()
                ]
            ),
        )

    def _name_it(self, settings: Settings) -> None:
        """Lead the console's own name here, where its zone is in this account."""
        if settings.hosted_zone_id is None or settings.domain_name is None:
            return
        zone = route53.HostedZone.from_hosted_zone_attributes(
            self,
            "Zone",
            hosted_zone_id=settings.hosted_zone_id,
            # The records carry their whole name, so the zone's own is not needed.
            zone_name=settings.domain_name,
        )
        target = route53.RecordTarget.from_alias(route53_targets.CloudFrontTarget(self.distribution))
        route53.ARecord(self, "Address4", zone=zone, record_name=f"{settings.domain_name}.", target=target)
        route53.AaaaRecord(self, "Address6", zone=zone, record_name=f"{settings.domain_name}.", target=target)
