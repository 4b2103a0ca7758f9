"""STS and IAM as far as sample notebooks and set-up scripts use them."""

import json

import pytest
from botocore.exceptions import ClientError

from kindred_server import ACCOUNT, ROLE

TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "personalize.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
READ = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}]}
S3_FULL = "arn:aws:iam::aws:policy/AmazonS3FullAccess"


def test_caller_identity(server):
    found = server.client("sts").get_caller_identity()
    assert found["Account"] == ACCOUNT
    assert f":{ACCOUNT}:" in found["Arn"] and found["UserId"]
    with pytest.raises(ClientError) as caught:
        server.client("sts", keys=(server.keys[0], "wrong")).get_caller_identity()
    assert caught.value.response["Error"]["Code"] in ("SignatureDoesNotMatch", "InvalidSignatureException")


def test_a_role_from_its_making_to_its_end(server):
    iam = server.client("iam")
    role = iam.create_role(RoleName="segments", AssumeRolePolicyDocument=json.dumps(TRUST),
                           Description="for tests")["Role"]
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/segments" and role["RoleName"] == "segments"
    assert role["AssumeRolePolicyDocument"] == TRUST
    assert iam.get_role(RoleName="segments")["Role"]["Arn"] == role["Arn"]
    assert "segments" in [entry["RoleName"] for entry in iam.list_roles()["Roles"]]
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName="segments", AssumeRolePolicyDocument=json.dumps(TRUST))

    iam.attach_role_policy(RoleName="segments", PolicyArn=S3_FULL)
    iam.put_role_policy(RoleName="segments", PolicyName="read", PolicyDocument=json.dumps(READ))
    attached = iam.list_attached_role_policies(RoleName="segments")["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonS3FullAccess", "PolicyArn": S3_FULL}]
    assert iam.list_role_policies(RoleName="segments")["PolicyNames"] == ["read"]
    assert iam.get_role_policy(RoleName="segments", PolicyName="read")["PolicyDocument"] == READ

    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName="segments")
    iam.detach_role_policy(RoleName="segments", PolicyArn=S3_FULL)
    iam.delete_role_policy(RoleName="segments", PolicyName="read")
    iam.delete_role(RoleName="segments")
    for call in (lambda: iam.get_role(RoleName="segments"), lambda: iam.delete_role(RoleName="segments"),
                 lambda: iam.attach_role_policy(RoleName="segments", PolicyArn=S3_FULL)):
        with pytest.raises(iam.exceptions.NoSuchEntityException):
            call()


def test_policies_of_ones_own(server):
    iam = server.client("iam")
    arn = iam.create_policy(PolicyName="reader", PolicyDocument=json.dumps(READ))["Policy"]["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/reader"
    assert iam.get_policy(PolicyArn=arn)["Policy"]["PolicyName"] == "reader"
    iam.create_role(RoleName="with-policy", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.attach_role_policy(RoleName="with-policy", PolicyArn=arn)
    iam.detach_role_policy(RoleName="with-policy", PolicyArn=arn)
    iam.delete_role(RoleName="with-policy")
    assert iam.get_policy(PolicyArn=S3_FULL)["Policy"]["PolicyName"] == "AmazonS3FullAccess"
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_policy(PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/none")
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.create_policy(PolicyName="broken", PolicyDocument="{")
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.create_role(RoleName="broken", AssumeRolePolicyDocument="not json")


def test_the_ready_role_and_what_survives_a_restart(fresh):
    server = fresh()
    iam = server.client("iam")
    assert iam.get_role(RoleName="kindred")["Role"]["Arn"] == ROLE
    iam.create_role(RoleName="lasting", AssumeRolePolicyDocument=json.dumps(TRUST))
    server.kill()
    server.start()
    iam = server.client("iam")
    assert iam.get_role(RoleName="lasting")["Role"]["AssumeRolePolicyDocument"] == TRUST
    assert iam.get_role(RoleName="kindred")["Role"]["Arn"] == ROLE
