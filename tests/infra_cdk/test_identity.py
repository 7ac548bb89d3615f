"""The user pool and the console's client, as CloudFormation gets them."""

from __future__ import annotations

from pinthesky.model.people import Role
from tests.support.cloud_template import Cloud


def test_nobody_signs_up_by_themselves(cloud: Cloud):
    assert cloud.only("AWS::Cognito::UserPool")["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] is True


def test_everybody_shows_two_factors_and_none_of_them_is_a_text_message(cloud: Cloud):
    pool = cloud.only("AWS::Cognito::UserPool")
    assert pool["MfaConfiguration"] == "ON"
    assert pool["EnabledMfas"] == ["SOFTWARE_TOKEN_MFA"]


def test_a_passkey_counts_as_both_factors_where_its_owner_was_verified(cloud: Cloud):
    pool = cloud.only("AWS::Cognito::UserPool")
    assert pool["Policies"]["SignInPolicy"]["AllowedFirstAuthFactors"] == ["PASSWORD", "WEB_AUTHN"]
    assert pool["WebAuthnFactorConfiguration"] == "MULTI_FACTOR_WITH_USER_VERIFICATION"
    assert pool["WebAuthnUserVerification"] == "required"


def test_the_tier_is_the_one_that_costs_nothing_for_a_household(cloud: Cloud):
    assert cloud.only("AWS::Cognito::UserPool")["UserPoolTier"] == "ESSENTIALS"


def test_people_sign_in_by_their_address(cloud: Cloud):
    pool = cloud.only("AWS::Cognito::UserPool")
    assert pool["UsernameAttributes"] == ["email"]
    assert pool["UsernameConfiguration"] == {"CaseSensitive": False}
    assert pool["UserAttributeUpdateSettings"] == {"AttributesRequireVerificationBeforeUpdate": ["email"]}


def test_there_is_a_group_for_each_role(cloud: Cloud):
    groups = {each["GroupName"] for each in cloud.every("AWS::Cognito::UserPoolGroup").values()}
    assert groups == {role.value for role in Role}


def test_the_console_is_a_public_client_with_code_and_pkce_alone(cloud: Cloud):
    client = cloud.only("AWS::Cognito::UserPoolClient")
    assert client["GenerateSecret"] is False
    assert client["AllowedOAuthFlows"] == ["code"]
    assert set(client["AllowedOAuthScopes"]) == {"openid", "email"}
    assert not {"ALLOW_USER_PASSWORD_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH"} & set(client["ExplicitAuthFlows"])
    assert client["PreventUserExistenceErrors"] == "ENABLED"


def test_tokens_are_short_revocable_and_replaced_at_each_use(cloud: Cloud):
    client = cloud.only("AWS::Cognito::UserPoolClient")
    assert (client["AccessTokenValidity"], client["TokenValidityUnits"]["AccessToken"]) == (15, "minutes")
    assert (client["RefreshTokenValidity"], client["TokenValidityUnits"]["RefreshToken"]) == (12 * 60, "minutes")
    assert client["RefreshTokenRotation"] == {"Feature": "ENABLED", "RetryGracePeriodSeconds": 10}
    # Cognito refuses a client that has both.
    assert "ALLOW_REFRESH_TOKEN_AUTH" not in client["ExplicitAuthFlows"]
    assert client["EnableTokenRevocation"] is True


def test_whoever_signs_in_comes_back_to_the_console_and_nowhere_else(full_cloud: Cloud):
    client = full_cloud.only("AWS::Cognito::UserPoolClient")
    assert client["CallbackURLs"] == ["https://cameras.example.com/signed-in"]
    assert client["LogoutURLs"] == ["https://cameras.example.com/"]


def test_the_pages_of_the_sign_in_have_a_look(cloud: Cloud):
    domain, look = cloud.only("AWS::Cognito::UserPoolDomain"), cloud.only("AWS::Cognito::ManagedLoginBranding")
    assert domain["ManagedLoginVersion"] == 2
    assert look["UseCognitoProvidedValues"] is True
    assert cloud.outputs["SignInUrl"].startswith(f"https://{domain['Domain']}.auth.")


class TestWithGoogle:
    """Google's users are made by the pool itself, so that somebody has to look at each."""

    def test_the_secret_is_read_at_deployment_and_is_in_no_template(self, full_cloud: Cloud):
        google = full_cloud.only("AWS::Cognito::UserPoolIdentityProvider")
        assert google["ProviderDetails"]["client_secret"] == "{{resolve:ssm:/pinthesky/google-client-secret}}"
        assert google["AttributeMapping"] == {"email": "email", "email_verified": "email_verified"}
        assert full_cloud.only("AWS::Cognito::UserPoolClient")["SupportedIdentityProviders"] == ["COGNITO", "Google"]

    def test_a_function_looks_at_everybody_before_they_become_a_user(self, full_cloud: Cloud):
        (logical,) = [
            name
            for name, each in full_cloud.every("AWS::Lambda::Function").items()
            if each.get("FunctionName") == "PinTheSky-pre-sign-up"
        ]
        trigger = full_cloud.only("AWS::Cognito::UserPool")["LambdaConfig"]["PreSignUp"]
        assert trigger.endswith(":function:PinTheSky-pre-sign-up")
        assert full_cloud.store["Resources"][logical]["Properties"]["Handler"].endswith(".pre_sign_up")

    def test_the_pool_alone_may_call_it(self, full_cloud: Cloud):
        found = [
            each
            for each in full_cloud.every("AWS::Lambda::Permission").values()
            if each["Principal"] == "cognito-idp.amazonaws.com"
        ]
        assert len(found) == 1
        assert ":userpool/" in found[0]["SourceArn"]

    def test_without_google_there_is_neither(self, cloud: Cloud):
        assert not cloud.every("AWS::Cognito::UserPoolIdentityProvider")
        assert "LambdaConfig" not in cloud.only("AWS::Cognito::UserPool")
        assert cloud.only("AWS::Cognito::UserPoolClient")["SupportedIdentityProviders"] == ["COGNITO"]
