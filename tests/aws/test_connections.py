"""What is API Gateway's own; what every poster does is in `tests/contracts`."""

from __future__ import annotations

from pinthesky.aws.connections import ApiGatewayConnectionPoster
from pinthesky.aws.session import AwsSession
from tests.support.aws_servers import REGION, DataPlaneServer


def test_the_post_is_signed_and_goes_below_the_stage(session: AwsSession, data_plane: DataPlaneServer):
    data_plane.open_connections.add("abc=")
    poster = ApiGatewayConnectionPoster(session)
    poster.post(endpoint_url=data_plane.url, region=REGION, connection_id="abc=", payload=b"{}")
    path, authorization, _ = data_plane.posts[0]
    assert path == "/prod/@connections/abc%3D"
    assert f"/{REGION}/execute-api/aws4_request" in authorization
