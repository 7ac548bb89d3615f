"""The people: a user pool in which nobody signs up, and the one client that the console is."""

from __future__ import annotations

from aws_cdk import CfnDynamicReference, CfnDynamicReferenceService, Duration, RemovalPolicy, SecretValue, Stack
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra_cdk.functions import PlanesFunction
from infra_cdk.names import SIGNED_IN_PATH
from infra_cdk.permissions import READ_PEOPLE, allow
from infra_cdk.settings import Settings

ACCESS = Duration.minutes(15)
REFRESH = Duration.hours(12)
"""A refresh token is replaced at each use; somebody who is away for so long signs in anew."""
ROTATION_GRACE = Duration.seconds(10)
"""For how long the one before is taken too: an answer may be lost."""
ROLES = {"owner": "may do everything", "member": "may do what a member may", "viewer": "may look"}


class Identity(Construct):
    """The pool, its pages and its groups. Who may do what is in the table; the groups make the first owner."""

    def __init__(self, scope: Construct, name: str, *, settings: Settings) -> None:
        super().__init__(scope, name)
        self.pool = cognito.UserPool(
            self,
            "Pool",
            feature_plan=cognito.FeaturePlan.ESSENTIALS,
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            sign_in_case_sensitive=False,
            auto_verify=cognito.AutoVerifiedAttrs(email=True),
            standard_attributes=cognito.StandardAttributes(
                email=cognito.StandardAttribute(required=True, mutable=True)
            ),
            keep_original=cognito.KeepOriginalAttrs(email=True),
            mfa=cognito.Mfa.REQUIRED,
            mfa_second_factor=cognito.MfaSecondFactor(sms=False, otp=True),
            sign_in_policy=cognito.SignInPolicy(
                allowed_first_auth_factors=cognito.AllowedFirstAuthFactors(password=True, passkey=True)
            ),
            passkey_user_verification=cognito.PasskeyUserVerification.REQUIRED,
            password_policy=cognito.PasswordPolicy(
                min_length=12,
                require_digits=True,
                require_lowercase=True,
                require_uppercase=True,
                require_symbols=True,
                temp_password_validity=Duration.days(7),
            ),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            user_invitation=cognito.UserInvitationConfig(
                email_subject="You may see the cameras",
                email_body="You are invited to a home of Pi In The Sky. Sign in as {username} with {####}; "
                "you choose a password of your own then, and pair an authenticator app.",
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        resource = self.pool.node.default_child
        assert isinstance(resource, cognito.CfnUserPool)  # noqa: S101 - what the construct is made of
        # A passkey of which the device has verified its owner is two factors already; otherwise a pool that asks for
        # two could not have passkeys.
        resource.web_authn_factor_configuration = "MULTI_FACTOR_WITH_USER_VERIFICATION"
        # With the pool, and not with the console: a passkey is good for this name alone.
        cognito.UserPoolDomain(
            self,
            "Domain",
            user_pool=self.pool,
            cognito_domain=cognito.CognitoDomainOptions(domain_prefix=_prefix(Stack.of(self))),
            managed_login_version=cognito.ManagedLoginVersion.NEWER_MANAGED_LOGIN,
        ).apply_removal_policy(RemovalPolicy.RETAIN)
        self.has_google = settings.google_client_id is not None
        if settings.google_client_id is not None:
            self._let_google_in(settings.google_client_id, settings.google_secret_parameter)
        self._make_groups()

    @property
    def issuer(self) -> str:
        """Who signs the pool's tokens."""
        stack = Stack.of(self)
        return f"https://cognito-idp.{stack.region}.{stack.url_suffix}/{self.pool.user_pool_id}"

    def refuse_strangers(self, trigger: PlanesFunction) -> None:
        """Ask a function about everybody who is about to become a user: federated sign-in makes users by itself."""
        self.pool.add_trigger(cognito.UserPoolOperation.PRE_SIGN_UP, trigger.function)
        # A policy of its own: the function waits for its role's, and this one waits for the pool.
        actions = (*READ_PEOPLE, "cognito-idp:AdminLinkProviderForUser", "cognito-idp:ListIdentityProviders")
        iam.Policy(
            self, "TriggerLooks", roles=[trigger.role], statements=[allow(*actions, on=[self.pool.user_pool_arn])]
        )

    def _make_groups(self) -> None:
        """They make the first owner, and are kept in step with the table for whoever looks there."""
        for order, (role, what) in enumerate(ROLES.items()):
            cognito.CfnUserPoolGroup(
                self,
                role.capitalize(),
                user_pool_id=self.pool.user_pool_id,
                group_name=role,
                description=f"People who {what}",
                precedence=order,
            )

    def _let_google_in(self, client: str, secret_parameter: str) -> None:
        """The secret of Google's client is read when CloudFormation deploys, and is in no template."""
        secret = CfnDynamicReference(CfnDynamicReferenceService.SSM, secret_parameter)
        cognito.UserPoolIdentityProviderGoogle(
            self,
            "Google",
            user_pool=self.pool,
            client_id=client,
            client_secret_value=SecretValue.cfn_dynamic_reference(secret),
            scopes=["openid", "email"],
            attribute_mapping=cognito.AttributeMapping(
                email=cognito.ProviderAttribute.GOOGLE_EMAIL,
                custom={"email_verified": cognito.ProviderAttribute.other("email_verified")},
            ),
        )


class SignIn(Construct):
    """The console as the pool's one client: public, so without a secret; authorization code with PKCE alone."""

    def __init__(self, scope: Construct, name: str, *, identity: Identity, console: str) -> None:
        """`console` is the console's address, without a slash at its end."""
        super().__init__(scope, name)
        self.client = cognito.UserPoolClient(
            self,
            "Console",
            user_pool=identity.pool,
            generate_secret=False,
            auth_flows=cognito.AuthFlow(user=True),
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID, cognito.OAuthScope.EMAIL],
                callback_urls=[f"{console}{SIGNED_IN_PATH}"],
                logout_urls=[f"{console}/"],
            ),
            supported_identity_providers=[
                cognito.UserPoolClientIdentityProvider.COGNITO,
                *([cognito.UserPoolClientIdentityProvider.GOOGLE] if identity.has_google else []),
            ],
            access_token_validity=ACCESS,
            id_token_validity=ACCESS,
            refresh_token_validity=REFRESH,
            refresh_token_rotation_grace_period=ROTATION_GRACE,
            enable_token_revocation=True,
            prevent_user_existence_errors=True,
        )
        cognito.CfnManagedLoginBranding(
            self,
            "Look",
            user_pool_id=identity.pool.user_pool_id,
            client_id=self.client.user_pool_client_id,
            use_cognito_provided_values=True,
        )


def address_of(stack: Stack) -> str:
    """Where people sign in, without a slash at its end. Known before the pool is, so that headers can name it."""
    return f"https://{_prefix(stack)}.auth.{stack.region}.amazoncognito.com"


def _prefix(stack: Stack) -> str:
    return f"pinthesky-{stack.account}"
