//! Tags of resources.

use super::simple::*;

structures! {
    TagResourceRequest {
        resource_arn "resourceArn": Arn required,
        tags "tags": Tags required,
    }
    TagResourceResponse {

    }
    UntagResourceRequest {
        resource_arn "resourceArn": Arn required,
        tag_keys "tagKeys": TagKeys required,
    }
    UntagResourceResponse {

    }
    ListTagsForResourceRequest {
        resource_arn "resourceArn": Arn required,
    }
    ListTagsForResourceResponse {
        tags "tags": Tags,
    }
}

operations! {
    TagResource(TagResourceRequest) -> TagResourceResponse fails [InvalidInput, ResourceNotFound, TooManyTags, ResourceInUse, LimitExceeded];
    UntagResource(UntagResourceRequest) -> UntagResourceResponse fails [InvalidInput, ResourceNotFound, TooManyTagKeys, ResourceInUse];
    ListTagsForResource(ListTagsForResourceRequest) -> ListTagsForResourceResponse fails [InvalidInput, ResourceNotFound, ResourceInUse];
}
